# SPDX-License-Identifier: MIT
# The front door: `make run` and `make test` install what is missing, build, and do the job.
# OUT= is the build folder, SAN= a list of sanitizers. MPI=no leaves out the plug-in for mpirun, which
# is built wherever OpenMPI is found.
MAKEFLAGS += -rR
.DEFAULT_GOAL := all
OUT    ?= build
ifneq ($(filter default undefined,$(origin CC)),)
CC     := gcc
endif
ifneq ($(filter default undefined,$(origin AR)),)
AR     := ar
endif
PREFIX ?= /usr/local
CFLAGS ?= -O2 -g
STRICT := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
          -Wstrict-prototypes -Wmissing-prototypes -Werror -fvisibility=hidden -fno-common \
          -fno-math-errno -ffp-contract=off -fPIC -pthread
ifneq ($(findstring clang,$(CC)),)
STRICT += -Wno-string-conversion # rex_assert(!"a sentence")
endif
ifdef SAN
# Sanitizers change what the optimiser sees: its warnings then tell about paths that do not exist.
STRICT  += -Wno-error
CFLAGS  := -O1 -g -fno-omit-frame-pointer -DREX_DEBUG -DREX_SMALL -DREX_TEST_SECONDS=480 \
           -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS := -fsanitize=$(SAN)
endif

# `run`, `test` and the like begin by installing; nothing may be looked for before that.
AFTER  := run test clean lint install-deps
ifneq ($(filter-out $(AFTER),$(or $(MAKECMDGOALS),all)),)
include $(OUT)/config.mk
endif
$(OUT)/config.mk: scripts/config.sh
	@mkdir -p $(@D)
	@CC="$(CC)" sh $< > $@.tmp && mv $@.tmp $@

# Sources by wildcard: a new file needs no line here.
SRC  := $(filter-out src/kernels/cpu_vec% src/kernels/cpu_bf16.c %/mpi.c,$(wildcard src/*/*.c))
OBJ  := $(SRC:src/%.c=$(OUT)/%.o)
CLI  := $(patsubst cli/%.c,$(OUT)/cli/%.o,$(wildcard cli/*.c))
TEST := $(patsubst tests/%.c,$(OUT)/tests/%,$(wildcard tests/test_*.c tests/prop_*.c))
FUZZ := $(patsubst fuzz/%.c,$(OUT)/fuzz/%,$(wildcard fuzz/fuzz_*.c))
BENCH := $(patsubst bench/%.c,$(OUT)/bench/%,$(wildcard bench/bench_*.c))
# The vector files are compiled once per instruction set of the machine compiled for.
MACH := $(shell $(CC) -dumpmachine 2>/dev/null)
ISAS := $(if $(filter x86_64%,$(MACH)),avx2 avx512,$(if $(filter aarch64%,$(MACH)),neon))
VEC  := $(foreach i,$(ISAS),$(patsubst src/kernels/cpu_vec%.c,$(OUT)/kernels/$(i)/vec%.o,\
          $(wildcard src/kernels/cpu_vec*.c)))
# The bf16 dot instruction has an object of its own, where the compiler knows it.
ifneq ($(filter x86_64%,$(MACH)),)
ifeq ($(shell echo 'int x;' | $(CC) -mavx512bf16 -x c -c -o /dev/null - 2>/dev/null && echo yes),yes)
VEC += $(OUT)/kernels/bf16/dot.o
KERN_FLAGS := -DREX_HAVE_DOT
endif
endif
$(OUT)/kernels/avx2/%.o:   ISA := -mavx2 -mfma -mf16c -DREX_VEC_AVX2
$(OUT)/kernels/avx512/%.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -DREX_VEC_AVX512
$(OUT)/kernels/neon/%.o:   ISA := -DREX_VEC_NEON
# MPI is needed by a plug-in alone, which the program loads when an mpirun has started it.
MPI    ?= $(shell pkg-config --exists ompi-c 2>/dev/null && echo yes)
PLUGIN := $(if $(filter yes,$(MPI)),$(OUT)/librepexp-mpi.so)
VERSION := $(shell sed -n 's/^.define REX_VERSION "\(.*\)"/\1/p' include/repexp.h)
SONAME  := librepexp.so.$(firstword $(subst ., ,$(VERSION)))
Q = $(if $(V),,@echo " $@";)
COMPILE  = $(Q)$(CC) $(STRICT) $(LIB_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
LINK     = $(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(XLIBS) $(LIBS)

all: $(OUT)/repexp $(OUT)/librepexp.so $(PLUGIN)
$(OUT)/librepexp.a: $(OBJ) $(VEC)
	@rm -f $@
	@$(AR) rcs $@ $^
$(OUT)/librepexp.so: $(OBJ) $(VEC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs -o $@ $^ $(LIBS)
$(OUT)/repexp: $(CLI) $(OUT)/librepexp.a
	$(LINK)
$(OUT)/librepexp-mpi.so: src/dist/mpi.c src/dist/dist.h $(OUT)/config.mk
	$(Q)$(CC) $(STRICT) $(CFLAGS) $(subst -I,-isystem ,$(shell pkg-config --cflags ompi-c)) \
	    $(LDFLAGS) -shared -o $@ $< $(shell pkg-config --libs ompi-c)
$(OBJ): $(OUT)/%.o: src/%.c $(OUT)/config.mk
	@mkdir -p $(@D)
	$(COMPILE)
$(OUT)/kernels/kern.o: CFLAGS += $(KERN_FLAGS)
$(OUT)/kernels/bf16/dot.o: src/kernels/cpu_bf16.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(STRICT) $(CFLAGS) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 \
	    -DREX_VEC_AVX512 -fno-lto -MMD -MP -c -o $@ $<
define VEC_RULE
$(filter $(OUT)/kernels/$(1)/%,$(VEC)): $(OUT)/kernels/$(1)/vec%.o: src/kernels/cpu_vec%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(STRICT) $$(CFLAGS) $$(ISA) -fno-lto -MMD -MP -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call VEC_RULE,$(i))))
$(OUT)/cli/%.o $(OUT)/tests/%.o $(OUT)/fuzz/%.o $(OUT)/bench/%.o: CFLAGS += -I.
$(CLI): $(OUT)/cli/%.o: cli/%.c $(OUT)/config.mk
	@mkdir -p $(@D)
	$(COMPILE)
$(OUT)/tests/%.o $(OUT)/fuzz/%.o $(OUT)/bench/%.o: STRICT := $(filter-out -Wconversion,$(STRICT))
$(OUT)/tests/%.o: tests/%.c $(OUT)/config.mk
	@mkdir -p $(@D)
	$(COMPILE)
$(OUT)/fuzz/%.o: fuzz/%.c $(OUT)/config.mk
	@mkdir -p $(@D)
	$(COMPILE) -Wno-missing-prototypes
$(OUT)/bench/%.o: bench/%.c $(OUT)/config.mk
	@mkdir -p $(@D)
	$(COMPILE)
$(TEST): XLIBS = $(shell pkg-config --libs check)
$(TEST): $(OUT)/tests/%: $(OUT)/tests/%.o $(OUT)/tests/rex_test.o $(OUT)/librepexp.a
	$(LINK)
$(FUZZ): $(OUT)/fuzz/%: $(OUT)/fuzz/%.o $(OUT)/fuzz/replay.o $(OUT)/librepexp.a
	$(LINK)
# The rivals of bench_kern, where their headers are installed.
RIVALS := $(if $(wildcard /usr/include/dnnl.h),-DREX_BENCH_DNNL) \
          $(if $(wildcard /usr/include/*/cblas.h),-DREX_BENCH_BLAS)
$(OUT)/bench/bench_kern.o: CFLAGS += $(RIVALS)
$(OUT)/bench/bench_kern: XLIBS += $(patsubst -DREX_BENCH_DNNL,-ldnnl -lgomp,$(patsubst \
                                  -DREX_BENCH_BLAS,-lopenblas,$(RIVALS)))
$(BENCH): $(OUT)/bench/%: $(OUT)/bench/%.o $(OUT)/librepexp.a
	$(LINK)
-include $(wildcard $(OUT)/*/*.d $(OUT)/kernels/*/*.d)

run:
	@sh scripts/install-deps.sh run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@sh scripts/run-sample.sh $(OUT)/repexp
test:
	@sh scripts/install-deps.sh test
	@OUT=$(OUT) MAKE="$(MAKE)" sh scripts/test-all.sh
unit: programs
	@rm -f $(OUT)/log/total
	@sh scripts/test.sh unit $(OUT)/log $(TEST)
programs: all $(TEST) $(FUZZ)
fuzz-replay: $(FUZZ)
	@sh scripts/test.sh fuzz $(OUT)/log $(FUZZ)
test-slow torture fuzz: all
	@OUT=$(OUT) MAKE="$(MAKE)" CC="$(CC)" sh scripts/test-slow.sh $@
bench: bench-programs
	@BUILD=$(OUT) python3 scripts/bench.py --write
bench-programs: $(BENCH)
bench-%:
	@needs=$$(BUILD=$(OUT) python3 scripts/bench.py --needs $*) && $(MAKE) --no-print-directory $$needs
	@BUILD=$(OUT) python3 scripts/bench.py $*
lint:
	@sh scripts/lint.sh full
model: $(OUT)/repexp
	@sh scripts/make-model.sh $(OUT)/repexp
results-llm: $(OUT)/repexp
	@sh scripts/results-llm.sh $(OUT)/repexp
results: $(OUT)/repexp
	@sh scripts/results.sh $(OUT)/repexp
man: $(OUT)/repexp
	@sh scripts/man.sh $(OUT)/repexp $(OUT)/man
install: all man
	@DESTDIR="$(DESTDIR)" sh scripts/install.sh install $(OUT) $(PREFIX) $(VERSION) $(SONAME)
uninstall:
	@DESTDIR="$(DESTDIR)" sh scripts/install.sh uninstall $(OUT) $(PREFIX) $(VERSION) $(SONAME)
$(OUT)/report/page.o: STRICT += -I$(OUT)/gen
$(OUT)/report/page.o: $(OUT)/gen/page_html.h
$(OUT)/gen/page_html.h: src/report/page.html scripts/embed.sh
	@mkdir -p $(@D)
	@sh scripts/embed.sh $< page_html > $@.tmp && mv $@.tmp $@
clean:
	rm -rf $(OUT)
.PHONY: all run test unit programs test-slow torture fuzz-replay fuzz bench bench-programs lint model results results-llm man install \
        uninstall clean
