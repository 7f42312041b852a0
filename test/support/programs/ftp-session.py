"""Many transfers over one control connection: HOST PORT MODE COUNT PATH. MODE: passive, active, both; a v6 address makes EPSV
and EPRT of PASV and PORT. Prints the SHA-256 of what came, once for each different one, with how often."""

import ftplib
import hashlib
import sys
from collections import Counter

host, port, mode, count, path = sys.argv[1:]
session = ftplib.FTP(timeout=20)
session.connect(host, int(port))
session.login()
# Without it ftplib would take the control connection's address in place of that of 227.
session.trust_server_pasv_ipv4_address = True
seen = Counter()
for number in range(int(count)):
    session.set_pasv(mode == "passive" or (mode == "both" and number % 2 == 0))
    digest = hashlib.sha256()
    session.retrbinary("RETR " + path, digest.update)
    seen[digest.hexdigest()] += 1
session.quit()
for digest, times in seen.items():
    print(digest, times)
