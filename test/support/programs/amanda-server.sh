# A backup server: backs a folder of a host up with Amanda, authentication "bsd", to a tape that is a folder, in a name space
# of its own for files. Prints what amcheck says, and the SHA-256 of the file "file.bin" as it is on the tape.
# $1: file for the hosts' names; $2: the host; $3: its folder
set -e
mount --make-rprivate /
for folder in /run /var/log/amanda /var/lib/amanda /etc/amanda /var/backups; do mount -t tmpfs tmpfs "$folder"; done
# A /tmp of its own too, but for the laboratory's folder.
laboratory=$(dirname "$1")
mkdir /run/laboratory
mount --bind "$laboratory" /run/laboratory
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mkdir "$laboratory"
mount --bind /run/laboratory "$laboratory"
mount --bind "$1" /etc/hosts
mount --bind /dev/null /etc/resolv.conf
{ cat /etc/services; echo 'amanda 10080/udp'; } > /run/services
mount --bind /run/services /etc/services
mkdir -p /etc/amanda/test /tmp/tapes/slot1 /tmp/holding /tmp/state
cat > /etc/amanda/test/amanda.conf <<'CONF'
org "test"
mailto ""
dumpuser "backup"
infofile "/tmp/state/info"
logdir "/tmp/state"
indexdir "/tmp/state/index"
tapelist "/etc/amanda/test/tapelist"
tpchanger "chg-disk:/tmp/tapes"
labelstr "V.*"
autolabel "V%%" any
tapetype folder
define tapetype folder {
  length 100 mbytes
}
holdingdisk one {
  directory "/tmp/holding"
  use 50 mbytes
}
inparallel 1
etimeout 20
ctimeout 10
dtimeout 20
define dumptype simple {
  auth "bsd"
  program "GNUTAR"
  compress none
  index yes
  estimate server
}
CONF
echo "$2 $3 simple" > /etc/amanda/test/disklist
touch /etc/amanda/test/tapelist
chown -R backup:backup /etc/amanda /tmp/tapes /tmp/holding /tmp/state /var/log/amanda /var/lib/amanda /var/backups
cd /tmp
as_backup() { setpriv --reuid=backup --regid=backup --init-groups env HOME=/var/backups "$@"; }
as_backup amcheck -c test || true
as_backup amdump test || { cat /tmp/state/log.*; exit 1; }
tail -c +32769 /tmp/tapes/slot1/*"$2"* | tar -xO ./file.bin | sha256sum
