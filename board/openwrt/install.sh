#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install parrot on a router, or remove it; where opkg takes no .ipk any more (OpenWrt 25.12, apk):
#
#     tar xzf parrot-VERSION-openwrt-TARGET.tar.gz && cd parrot-VERSION && sh install.sh
#     sh install.sh remove
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = remove ]; then
	sh "$here/clear"
	rm -rf /opt/parrot/start /etc/init.d/parrot /lib/upgrade/keep.d/parrot
	echo "parrot: removed; its life is still in /etc/parrot."
	exit 0
fi
sh "$here/check" || exit 1
need_kb=$(du -sk "$here/files" | cut -f1)
free_kb=$(df -k / | awk 'END { print $4 }')
[ "$free_kb" -ge 0 ] 2>/dev/null || free_kb=0
[ "$free_kb" -gt $((need_kb + 4096)) ] || {
	echo "parrot: $free_kb KB free on /, expected $((need_kb + 4096)); extend the overlay to a USB stick." >&2
	exit 1
}
(cd "$here/files" && find . -type d | while read -r folder; do mkdir -p "/$folder"; done)
(cd "$here/files" && find . -type f | while read -r file; do
	[ "$file" = ./etc/config/parrot ] && [ -e /etc/config/parrot ] && continue
	cp -p "$file" "/$file.part" && mv -f "/$file.part" "/$file" || exit 1
done) || { echo "parrot: a file could not be written; see above." >&2; exit 1; }
sh "$here/settle"
/etc/init.d/parrot enable && /etc/init.d/parrot start
echo "parrot: installed. What works: parrot doctor. To talk here: /etc/init.d/parrot stop; parrot chat --soul /etc/parrot/soul.db"
