# SPDX-License-Identifier: MIT
# The front door: `make run` and `make test` install what is missing, build, and do the job.
MAKEFLAGS += -rR
OUT    ?= build
ifeq ($(origin CC),default)
CC     := gcc
endif
ifeq ($(origin AR),default)
AR     := ar
endif
CFLAGS ?= -O2 -g
STRICT := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
          -Wstrict-prototypes -Wmissing-prototypes -Werror -fvisibility=hidden -fno-common \
          -fno-math-errno -ffp-contract=off -fPIC -pthread
SRC  := $(filter-out %/cpu_vec.c,$(wildcard src/*/*.c))
OBJ  := $(SRC:src/%.c=$(OUT)/%.o)
CLI  := $(patsubst cli/%.c,$(OUT)/cli/%.o,$(wildcard cli/*.c))
LIBS := -lyaml -lflint-arb -lflint -lgmp -lm -pthread

all: $(OUT)/repexp

$(OUT)/librepexp.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(OUT)/repexp: $(CLI) $(OUT)/librepexp.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(OBJ): $(OUT)/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -MMD -MP -c -o $@ $<
$(CLI): $(OUT)/cli/%.o: cli/%.c
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(OBJ:.o=.d) $(CLI:.o=.d)
clean:
	rm -rf $(OUT)
.PHONY: all clean
