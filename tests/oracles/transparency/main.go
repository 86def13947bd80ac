// Judges proofs, notes and tiles with the Go code that public verifiers of transparency logs use.
//
// It reads one JSON document from standard input: a list of cases. It writes one line for each: "yes", or "no" and why.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	f_proof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type testCase struct {
	Kind   string
	Index  uint64
	First  uint64
	Size   uint64
	Leaf   []byte
	Proof  [][]byte
	Old    []byte
	Root   []byte
	Text   string
	Origin string
	Plain  string
	At     int64
	Tiles  map[string][]byte
}

func main() {
	var cases []testCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, one := range cases {
		if err := judge(one); err != nil {
			fmt.Printf("no %q\n", err.Error())
		} else {
			fmt.Println("yes")
		}
	}
}

func judge(one testCase) error {
	switch one.Kind {
	case "inclusion":
		return proof.VerifyInclusion(rfc6962.DefaultHasher, one.Index, one.Size, one.Leaf, one.Proof, one.Root)
	case "consistency":
		return proof.VerifyConsistency(rfc6962.DefaultHasher, one.First, one.Size, one.Proof, one.Old, one.Root)
	case "checkpoint":
		_, err := checkpoint([]byte(one.Text), one)
		return err
	case "proof":
		var told f_proof.TLogProof
		if err := told.Unmarshal([]byte(one.Text)); err != nil {
			return err
		}
		signed, err := checkpoint(told.Checkpoint, one)
		if err != nil {
			return err
		}
		hashes := make([][]byte, len(told.Hashes))
		for i := range told.Hashes {
			hashes[i] = told.Hashes[i][:]
		}
		return proof.VerifyInclusion(rfc6962.DefaultHasher, told.Index, signed.Size, one.Leaf, hashes, signed.Hash)
	case "tiles", "served tiles":
		var tiles tlog.TileReader = stored(one.Tiles)
		if one.Kind == "served tiles" {
			tiles = served(one.Tiles)
		}
		reader := tlog.TileHashReader(tlog.Tree{N: int64(one.Size), Hash: tlog.Hash(one.Root)}, tiles)
		record, err := tlog.ProveRecord(int64(one.Size), int64(one.Index), reader)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(record, int64(one.Size), tlog.Hash(one.Root), int64(one.Index), tlog.Hash(one.Leaf))
	}
	return fmt.Errorf("unknown kind %q", one.Kind)
}

// checkpoint reads a note that must hold both signatures of one key, the timed one of the expected second.
func checkpoint(text []byte, one testCase) (*f_log.Checkpoint, error) {
	plain, err := note.NewVerifier(one.Plain)
	if err != nil {
		return nil, err
	}
	timed, err := f_note.NewVerifierForCosignatureV1(one.Plain)
	if err != nil {
		return nil, err
	}
	signed, rest, found, err := f_log.ParseCheckpoint(text, one.Origin, plain, timed)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes of extension lines", len(rest))
	}
	if len(found.Sigs) != 2 || len(found.UnverifiedSigs) != 0 {
		return nil, fmt.Errorf("%d signatures verified, %d not", len(found.Sigs), len(found.UnverifiedSigs))
	}
	for _, signature := range found.Sigs {
		if signature.Hash == timed.KeyHash() {
			at, err := f_note.CoSigV1Timestamp(signature)
			if err != nil {
				return nil, err
			}
			if at.Unix() != one.At {
				return nil, fmt.Errorf("signed at %d", at.Unix())
			}
		}
	}
	return signed, nil
}

type stored map[string][]byte

func (tiles stored) Height() int { return 8 }

func (tiles stored) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		content := tiles[fmt.Sprintf("%d/%d", tile.L, tile.N)]
		if len(content) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %d/%d has %d bytes", tile.L, tile.N, len(content))
		}
		found[i] = content[:tile.W*tlog.HashSize]
	}
	return found, nil
}

func (tiles stored) SaveTiles([]tlog.Tile, [][]byte) {}

// served has tiles by their paths, as c2sp.org/tlog-tiles writes them: those of this library without the height.
type served map[string][]byte

func (tiles served) Height() int { return 8 }

func (tiles served) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		content, there := tiles[path]
		if !there || len(content) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %s has %d bytes", path, len(content))
		}
		found[i] = content
	}
	return found, nil
}

func (tiles served) SaveTiles([]tlog.Tile, [][]byte) {}
