// Checks a receipt with the Go project's own packages for notes and transparency logs.
//
// Usage: interop KEY RECEIPT BODY: the verifier key as text, and two files. It prints the index,
// the size and the root when all of it holds, and ends with 1 and the reason when it does not.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}

func main() {
	receipt, err := os.ReadFile(os.Args[2])
	if err != nil {
		fail("receipt", err)
	}
	body, err := os.ReadFile(os.Args[3])
	if err != nil {
		fail("body", err)
	}
	verifier, err := note.NewVerifier(os.Args[1])
	if err != nil {
		fail("key", err)
	}
	head, signed, found := strings.Cut(string(receipt), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("receipt", fmt.Errorf("its first line is %q", lines[0]))
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		fail("index", err)
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			fail("proof", err)
		}
		proof = append(proof, hash)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		fail("note", err)
	}
	parts := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || parts[0] != verifier.Name() {
		fail("checkpoint", fmt.Errorf("origin %q, size %q", parts[0], parts[1]))
	}
	bytes, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(bytes) != tlog.HashSize {
		fail("root", err)
	}
	var root tlog.Hash
	copy(root[:], bytes)
	if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(body)); err != nil {
		fail("proof", err)
	}
	fmt.Println(index, size, root)
}
