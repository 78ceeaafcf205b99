package account

import (
	"fmt"
	"time"
)

// Now is the account's time, in UTC.
func (a *Account) Now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now()
}

// now is Now for a caller that holds the lock.
func (a *Account) now() time.Time { return time.Now().UTC().Add(a.state.ClockOffset) }

// Advance moves the account's clock forward. Credentials that are then over stop working at once, and load balancers
// whose time has come are active when it returns.
func (a *Account) Advance(by time.Duration) error {
	if by < 0 {
		return fmt.Errorf("the clock cannot go back (%s): reset the sandbox instead", by)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.ClockOffset += by
	a.settleBalancers()
	return a.save()
}
