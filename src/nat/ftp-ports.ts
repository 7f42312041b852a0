/** FTP's ports (RFC 959 section 8), of which IPVS has rules even where no module reads the payload. */

/** Of control connections. Data connections are looked for at its service, and its templates are for all ports. */
export const FTP_PORT = 21;
/** Active data comes from here; it is never scheduled, because it must have been announced. */
export const FTP_DATA_PORT = 20;
