# An RPC server with rpcbind in a name space of its own for files: rpcbind, rquotad, rstatd, and, for a folder, an NFS server.
# $1: file for the hosts' names; $2: folder to export over NFS 3, or nothing
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount --bind "$1" /etc/hosts
# Nobody may wait for name servers that are not there.
mount --bind /dev/null /etc/resolv.conf
# What stays behind must not hold our output open.
rpcbind -f >/dev/null 2>&1 &
until [ -S /run/rpcbind.sock ]; do sleep 0.02; done
rpc.rquotad -F -p 40000 >/dev/null 2>&1 &
rpc.rstatd >/dev/null 2>&1
if [ -n "$2" ]; then
  mount -t tmpfs tmpfs /var/lib/nfs
  mkdir -p /run/ganesha
  cat > /run/ganesha.conf <<CONF
NFS_CORE_PARAM { Protocols = 3; NFS_Port = 40100; MNT_Port = 40101; Enable_NLM = false; Enable_RQUOTA = false; }
EXPORT { Export_Id = 1; Path = $2; Pseudo = /e; Access_Type = RO; Squash = None; SecType = sys; Protocols = 3; FSAL { Name = VFS; } }
CONF
  ganesha.nfsd -F -L /run/ganesha.log -N FATAL -f /run/ganesha.conf -p /run/ganesha.pid >/dev/null 2>&1 &
fi
wanted=100011
[ -z "$2" ] || wanted=100003
until rpcinfo -p 127.0.0.1 | grep -q "$wanted.*tcp"; do sleep 0.02; done
echo ready
wait
