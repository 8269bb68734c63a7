import Synchronization

/// Places to work at, handed out one by one: who comes when all are taken waits in line.
package final class SlotPool: Sendable {
    private struct Waiter {
        var ticket: Int
        var avoiding: Set<Int>
        var continuation: CheckedContinuation<Int, any Error>
    }

    private struct State {
        var free: Set<Int>
        var waiters: [Waiter] = []
        var nextTicket = 0
        var cancelled: Set<Int> = []
    }

    package let count: Int
    private let state: Mutex<State>

    /// Slots `0..<count`.
    package init(count: Int) {
        self.count = count
        state = Mutex(State(free: Set(0..<count)))
    }

    /// A slot that is not in `avoiding`, and any slot when all are in it. Waits until there is one; throws
    /// `CancellationError` when the task is cancelled first.
    package func acquire(avoiding: Set<Int> = []) async throws -> Int {
        let avoiding = avoiding.count < count ? avoiding : []
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let answer: Result<Int, any Error>? = state.withLock { state in
                    if state.cancelled.remove(ticket) != nil { return .failure(CancellationError()) }
                    if let slot = state.free.filter({ !avoiding.contains($0) }).min() {
                        state.free.remove(slot)
                        return .success(slot)
                    }
                    state.waiters.append(Waiter(ticket: ticket, avoiding: avoiding, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            let waiter: Waiter? = state.withLock { state in
                if let index = state.waiters.firstIndex(where: { $0.ticket == ticket }) {
                    return state.waiters.remove(at: index)
                }
                state.cancelled.insert(ticket)
                return nil
            }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }

    /// Gives a slot back, to the first in line who may have it.
    package func release(_ slot: Int) {
        let waiter: Waiter? = state.withLock { state in
            if let index = state.waiters.firstIndex(where: { !$0.avoiding.contains(slot) }) {
                return state.waiters.remove(at: index)
            }
            state.free.insert(slot)
            return nil
        }
        waiter?.continuation.resume(returning: slot)
    }
}
