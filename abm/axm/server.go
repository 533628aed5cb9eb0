package axm

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// MDMServer is a device management service of the organization.
//
// Apple: https://developer.apple.com/documentation/applebusinessapi/mdmserver/attributes-data.dictionary
type MDMServer struct {
	// ID is 32 upper-case hexadecimal digits. Whether it is the server_uuid of the device assignment service without its
	// dashes is not documented.
	ID         string
	ServerName string
	// ServerType is MDM, APPLE_CONFIGURATOR, APPLE_MDM, or what Apple adds.
	ServerType       string
	Created, Updated time.Time

	// Apple Business 2.1 and later.

	// Status is ACTIVE, INACTIVE or DELETED.
	Status string
	// DeviceCount is the number of devices that are assigned to the server.
	DeviceCount int
	// EnableMDMDisown says that the MDM server may release devices.
	EnableMDMDisown bool
	// DefaultProductFamilies are the families whose new devices go to this server.
	DefaultProductFamilies []string
	LastConnected          time.Time
	LastConnectedIP        string

	// Document is the resource as received.
	Document json.RawMessage
}

func newMDMServer(r resource) MDMServer {
	a := r.attrs
	return MDMServer{
		ID: r.id, ServerName: a.text("serverName"), ServerType: a.text("serverType"),
		Created: a.time("createdDateTime"), Updated: a.time("updatedDateTime"), Status: a.text("status"),
		DeviceCount: a.int("deviceCount"), EnableMDMDisown: a.bool("enableMdmDisownFlag"),
		DefaultProductFamilies: a.texts("defaultProductFamilies"), LastConnected: a.time("lastConnectedDateTime"),
		LastConnectedIP: a.text("lastConnectedIp"), Document: r.document,
	}
}

// ServerCertificate is the certificate that Apple encrypts the server token of the device assignment service to.
type ServerCertificate struct {
	// Name is the name of the file, such as "mdm.cer".
	Name string
	// Certificate has an RSA key, as that of abm.KeyPair.
	Certificate *x509.Certificate
}

// MDMServerUpdate is what is to change of an MDM server; nil leaves a thing as it is.
type MDMServerUpdate struct {
	ServerName        *string
	ServerCertificate *ServerCertificate
	EnableMDMDisown   *bool
	// DefaultProductFamilies are APPLE_TV, IPAD, IPHONE, IPOD, MAC, VISION or WATCH. An empty list is sent as one.
	DefaultProductFamilies []string
}

// attributes returns the attributes of a request.
func (u MDMServerUpdate) attributes() (map[string]any, error) {
	out := make(map[string]any)
	if u.ServerName != nil {
		if *u.ServerName == "" {
			return nil, errors.New("axm: MDM server: the name is empty")
		}
		out["serverName"] = *u.ServerName
	}
	if cert := u.ServerCertificate; cert != nil {
		if cert.Name == "" || cert.Certificate == nil || len(cert.Certificate.Raw) == 0 {
			return nil, errors.New("axm: MDM server: the certificate or its name is missing")
		}
		out["serverCertificate"] = map[string]string{
			"name": cert.Name,
			// DER: the value of Apple's example begins as that of a certificate does.
			"data": base64.StdEncoding.EncodeToString(cert.Certificate.Raw),
		}
	}
	if u.EnableMDMDisown != nil {
		out["enableMdmDisownFlag"] = *u.EnableMDMDisown
	}
	if u.DefaultProductFamilies != nil {
		out["defaultProductFamilies"] = u.DefaultProductFamilies
	}
	return out, nil
}
