#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: DESTDIR=... scripts/install.sh install|uninstall OUT PREFIX VERSION SONAME
set -eu
what=$1 out=$2 prefix=$3 version=$4 soname=$5
to=${DESTDIR:-}$prefix
if [ "$what" = uninstall ]; then
    rm -f "$to/bin/repexp" "$to/include/repexp.h" "$to/lib/librepexp.a" "$to/lib/librepexp.so" \
        "$to/lib/librepexp-mpi.so" "$to/lib/$soname" "$to/lib/librepexp.so.$version" "$to/lib/pkgconfig/repexp.pc" \
        "$to"/share/man/man1/repexp.1 "$to"/share/man/man1/repexp-*.1
    exit 0
fi
mkdir -p "$to/bin" "$to/include" "$to/lib/pkgconfig" "$to/share/man/man1"
install -m 755 "$out/repexp" "$to/bin/"
install -m 644 include/repexp.h "$to/include/"
install -m 644 "$out/librepexp.a" "$to/lib/"
install -m 755 "$out/librepexp.so" "$to/lib/librepexp.so.$version"
[ ! -e "$out/librepexp-mpi.so" ] || install -m 755 "$out/librepexp-mpi.so" "$to/lib/"
ln -sf "librepexp.so.$version" "$to/lib/$soname"
ln -sf "$soname" "$to/lib/librepexp.so"
install -m 644 "$out"/man/*.1 "$to/share/man/man1/"
libs=$(sed -n 's/^LIBS := //p' "$out/config.mk")
cat >"$to/lib/pkgconfig/repexp.pc" <<END
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: repexp
Description: exploration with language models
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lrepexp
Libs.private: $libs
END
