// Command s3 is an S3-compatible server for tests, in memory: rclone's, which checks AWS Signature Version 4.
//
//	s3 ADDRESS ACCESS_KEY_ID SECRET_ACCESS_KEY BUCKET
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/rclone/gofakes3"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: s3 ADDRESS ACCESS_KEY_ID SECRET_ACCESS_KEY BUCKET")
	}
	backend := &store{bucket: os.Args[4], objects: map[string][]byte{}}
	keys := map[string]string{os.Args[2]: os.Args[3]}
	server := gofakes3.New(backend, gofakes3.WithV4Auth(keys))
	log.Fatal(http.ListenAndServe(os.Args[1], server.Server()))
}
