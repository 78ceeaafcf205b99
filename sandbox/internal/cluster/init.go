package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// InitCommand is the hidden command of the binary under which the supervisor starts the node's init.
const InitCommand = "cluster-init"

// Init is process 1 of the node's namespaces: it prepares mounts and network, keeps the ordered programs running and
// reaps what is orphaned. It returns only when it cannot go on or the supervisor is gone; the kernel then ends every
// process of the node.
func Init() error {
	orders := bufio.NewScanner(os.Stdin)
	orders.Buffer(nil, 1<<20)
	tell := teller()
	if !orders.Scan() {
		return fmt.Errorf("no order on standard input: %s is started by the supervisor only", InitCommand)
	}
	var w world
	if err := json.Unmarshal(orders.Bytes(), &w); err != nil {
		return fmt.Errorf("read the first order: %w", err)
	}
	if err := w.prepare(); err != nil {
		tell(news{Kind: newsFailed, Detail: err.Error()})
		return err
	}
	tell(news{Kind: newsWorld})
	keeper := newKeeper(tell)
	go keeper.reap()
	for orders.Scan() {
		var p program
		if err := json.Unmarshal(orders.Bytes(), &p); err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		keeper.keep(p)
	}
	return orders.Err()
}

func (w world) prepare() error {
	if err := w.mount(); err != nil {
		return err
	}
	return w.connect()
}

// teller writes news as lines; it is safe for many goroutines.
func teller() func(news) {
	var lock sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	return func(n news) {
		lock.Lock()
		defer lock.Unlock()
		// A failed write means that the supervisor is gone: the end of standard input says so too, and ends us.
		_ = encoder.Encode(n)
	}
}
