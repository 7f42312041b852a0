# A host that Amanda backs up, its daemon behind inetd with the authentication "bsd"; in a name space of its own for files.
# $1: file for the hosts' names, among them the backup server's: "bserver", or "host-a" when it is behind that address
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
mkdir /var/lib/amanda/gnutar-lists
printf '%s backup amdump\n' bserver host-a > /var/backups/.amandahosts
chmod 600 /var/backups/.amandahosts
chown -R backup:backup /var/log/amanda /var/lib/amanda /etc/amanda /var/backups
mount --bind "$1" /etc/hosts
mount --bind /dev/null /etc/resolv.conf
echo '10080 dgram udp4 wait backup:backup /usr/lib/amanda/amandad amandad -auth=bsd amdump' > /run/inetd.conf
exec inetd -d /run/inetd.conf
