// SPDX-License-Identifier: MIT
// Looks a name up, connects to it, and speaks TLS with it, by Go's own resolver: arguments NAME PORT
// TLS-PORT AUTHORITY.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	name, port, tlsPort := os.Args[1], os.Args[2], os.Args[3]
	addresses, err := net.LookupHost(name)
	fmt.Println("look", name, len(addresses), err == nil)
	dialer := net.Dialer{Timeout: 20 * time.Second}
	plain, err := dialer.Dial("tcp", net.JoinHostPort(name, port))
	fmt.Println("reach", name, err == nil)
	if err == nil {
		plain.Close()
	}
	pem, err := os.ReadFile(os.Args[4])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	secure, err := tls.DialWithDialer(&dialer, "tcp", net.JoinHostPort(name, tlsPort), &tls.Config{RootCAs: roots})
	fmt.Println("secure", name, err == nil)
	if err == nil {
		secure.Close()
	}
}
