// What both Go clients share: the order of the steps, the lines that the suite reads, the loop that goes on through a change of leader.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

const (
	text    = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line"
	numeric = "12345678901234567890.123456789"
	id      = "0198c2f0-5b7a-7c3d-8e4f-0123456789ab"
)

var (
	octets          = []byte{0, 1, 39, 92, 254, 255}
	client, signals string
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(got, wanted interface{}, what string) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Errorf("%s: got %.200v, wanted %.200v", what, got, wanted))
	}
}

func table(name string) string { return "c_" + client + "_" + name }

// goOn writes each 20 ms, in turn alone and in a transaction, until the change is over and 50 writes more.
func goOn(name string, stateOf func(error) string, write func(number int, inTransaction bool) error) map[int]bool {
	fmt.Println("ready-for " + name)
	acknowledged := map[int]bool{}
	var states []string
	deadline := time.Now().Add(2 * time.Minute)
	for number, left := 1, 50; left > 0; number++ {
		if time.Now().After(deadline) {
			panic("the change took longer than two minutes")
		}
		if _, err := os.Stat(filepath.Join(signals, name)); err == nil {
			left--
		}
		if err := write(number, number%2 == 0); err == nil {
			acknowledged[number] = true
		} else {
			state := stateOf(err)
			if name == "switchover" || (state != "40001" && state != "08007") {
				panic(fmt.Errorf("write refused with %s: %w", state, err))
			}
			states = append(states, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(states) > 4 {
		panic(fmt.Errorf("writes refused: %v", states))
	}
	return acknowledged
}

func allFound(found []int, acknowledged map[int]bool) {
	seen := map[int]bool{}
	for _, number := range found {
		if seen[number] {
			panic(fmt.Errorf("write %d was carried out twice", number))
		}
		seen[number] = true
	}
	for number := range acknowledged {
		if !seen[number] {
			panic(fmt.Errorf("acknowledged write %d is lost", number))
		}
	}
}

func attempt(step func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	step()
	return nil
}

func main() {
	client, signals = os.Args[1], os.Args[2]
	steps := pqSteps
	if client == "go_pgx" {
		steps = pgxSteps
	}
	for _, name := range os.Args[3:] {
		step, ok := steps[name]
		if !ok {
			fmt.Printf("skip %s - the driver has no such thing\n", name)
		} else if err := attempt(step); err != nil {
			fmt.Printf("not ok %s - %s\n", name, strings.ReplaceAll(err.Error(), "\n", " | "))
		} else {
			fmt.Printf("ok %s\n", name)
		}
	}
}
