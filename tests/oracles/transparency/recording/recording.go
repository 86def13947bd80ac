// Joins the package of the Go module that judges proofs, in a copy that a test makes: ../../test_vectors.py.
//
// The module's own tests then call these functions in place of its own, so that each vector of theirs is written down with the
// verdict that it got: one line of JSON for each call.
package proof

import (
	"encoding/json"
	"os"

	"github.com/transparency-dev/merkle"
)

func VerifyInclusion(hasher merkle.LogHasher, index, size uint64, leafHash []byte, proof [][]byte, root []byte) error {
	err := judgedInclusion(hasher, index, size, leafHash, proof, root)
	record(map[string]any{
		"Kind": "inclusion", "Index": index, "Size": size, "Leaf": leafHash, "Proof": proof, "Root": root, "Right": err == nil,
	})
	return err
}

func VerifyConsistency(hasher merkle.LogHasher, size1, size2 uint64, proof [][]byte, root1, root2 []byte) error {
	err := judgedConsistency(hasher, size1, size2, proof, root1, root2)
	record(map[string]any{
		"Kind": "consistency", "First": size1, "Size": size2, "Old": root1, "Root": root2, "Proof": proof, "Right": err == nil,
	})
	return err
}

func record(call map[string]any) {
	line, err := json.Marshal(call)
	if err != nil {
		panic(err)
	}
	file, err := os.OpenFile(os.Getenv("RECORDED"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}
