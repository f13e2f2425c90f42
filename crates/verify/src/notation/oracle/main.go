// Makes envelopes.json with the Notary Project's own implementation, for the tests of the module above:
//
//	go mod init oracle && go get github.com/notaryproject/notation-core-go@v1.3.0 && go run . > out.json
//
// and out.json with one envelope a line. Keys and certificates are new each time, and the keys are not kept.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var serial int64

func cert(cn string, pub crypto.PublicKey, ca bool, parent *x509.Certificate, signer crypto.Signer) *x509.Certificate {
	serial++
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"acme"}, CommonName: cn},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: ca, IsCA: ca,
	}
	if ca {
		t.KeyUsage = x509.KeyUsageCertSign
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	if parent == nil {
		parent = t
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, t, parent, pub, signer))))
}

func p(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func main() {
	keys := map[string]func() crypto.Signer{
		"PS256": func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) },
		"PS384": func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 3072)) },
		"PS512": func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 4096)) },
		"ES256": func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) },
		"ES384": func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) },
		"ES512": func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) },
	}
	payload := `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:73c803930ea3ba1e54bc25c2bdc53edd0284c62ed651fe7b00369da519a3c333","size":16724,"annotations":{"build":"7"}}}`
	var out []map[string]any
	for _, alg := range []string{"PS256", "PS384", "PS512", "ES256", "ES384", "ES512"} {
		root, inter, leaf := keys[alg](), keys[alg](), keys[alg]()
		rc := cert(alg+" root", root.Public(), true, nil, root)
		ic := cert(alg+" authority", inter.Public(), true, rc, root)
		lc := cert("ci", leaf.Public(), false, ic, inter)
		signer := must(signature.NewLocalSigner([]*x509.Certificate{lc, ic, rc}, leaf.(crypto.PrivateKey)))
		for _, scheme := range []signature.SigningScheme{signature.SigningSchemeX509, signature.SigningSchemeX509SigningAuthority} {
			env := must(signature.NewEnvelope(jws.MediaTypeEnvelope))
			req := &signature.SignRequest{
				Payload:       signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json", Content: []byte(payload)},
				Signer:        signer, SigningTime: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
				SigningAgent: "oracle", SigningScheme: scheme,
			}
			if alg == "ES256" {
				req.Expiry = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
			}
			b := must(env.Sign(req))
			out = append(out, map[string]any{"alg": alg, "scheme": string(scheme), "root": p(rc), "envelope": json.RawMessage(b)})
		}
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", " ")
	must(0, e.Encode(out))
}
