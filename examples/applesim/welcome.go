package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
)

// welcome tells what is being served and how to get a token, in commands that can be pasted into a shell.
func welcome(w io.Writer, base string, c config) {
	server := url.PathEscape(c.servers[0])
	fmt.Fprintf(w, `Simulated Apple Business Manager: %d devices, MDM servers: %s

  API for MDM servers   %s/   (instead of https://mdmenrollment.apple.com)
  administration        %s/admin/   (GET it for help)
  faults                %s/admin/faults   (applesim -h lists them; set: %d)

To connect an MDM server, give the portal its certificate and download the token. A server that makes its key itself, as
enrollkit does, has the certificate for you (mdm.pem); for another one, make both first:

  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mdm -days 365 -keyout mdm.key -out mdm.pem
  curl -f -T mdm.pem %s/admin/servers/%s/certificate
  curl -f -X POST -o token.p7m %s/admin/servers/%s/token

Import token.p7m into the MDM server (and the key, if you made it), or look inside:

  openssl cms -decrypt -inform SMIME -in token.p7m -recip mdm.pem -inkey mdm.key

With -d '{"expires_in": "144h"}' in place of -X POST the token ends soon, to see what the MDM server says about that.

Press Ctrl-C to stop.
`, c.devices, strings.Join(c.servers, ", "), base, base, base, len(c.faults), base, server, base, server)
}
