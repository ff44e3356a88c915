// Answers questions about hashes with the library that Supabase's Auth server uses: reads one JSON object from standard
// input and prints one.
package main

import (
	"encoding/json"
	"os"

	"golang.org/x/crypto/bcrypt"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var questions struct {
		Make  []string    `json:"make"`
		Check [][2]string `json:"check"`
	}
	must(json.NewDecoder(os.Stdin).Decode(&questions))
	answers := struct {
		Made    []string `json:"made"`
		Checked []bool   `json:"checked"`
	}{[]string{}, []bool{}}
	for _, password := range questions.Make {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		must(err)
		answers.Made = append(answers.Made, string(hash))
	}
	for _, pair := range questions.Check {
		answers.Checked = append(answers.Checked, bcrypt.CompareHashAndPassword([]byte(pair[1]), []byte(pair[0])) == nil)
	}
	must(json.NewEncoder(os.Stdout).Encode(answers))
}
