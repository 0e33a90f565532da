// Command registry is an OCI registry for tests, in memory: go-containerregistry's, behind an account where one is given.
//
//	registry ADDRESS [USER PASSWORD]
//
// With an account it asks for a token, as registries do: GET /token gives one to who shows the account.
package main

import (
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

const token = "token-of-the-test-registry"

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		log.Fatal("usage: registry ADDRESS [USER PASSWORD]")
	}
	handler := registry.New(registry.Logger(log.New(os.Stderr, "", 0)))
	if len(os.Args) == 4 {
		handler = guard(handler, os.Args[1], os.Args[2], os.Args[3])
	}
	log.Fatal(http.ListenAndServe(os.Args[1], handler))
}

func guard(next http.Handler, address, user, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, secret, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && equal(given, user) && equal(secret, password):
			fmt.Fprintf(w, `{"token": %q}`, token)
		case r.URL.Path != "/token" && equal(r.Header.Get("Authorization"), "Bearer "+token):
			next.ServeHTTP(w, r)
		default:
			challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope="repository:any:pull"`, address)
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

func equal(left, right string) bool {
	return subtle.ConstantTimeCompare([]byte(left), []byte(right)) == 1
}
