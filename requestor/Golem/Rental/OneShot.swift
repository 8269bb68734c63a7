import Synchronization

/// A value that is set once and can be waited for by any number of tasks.
package final class OneShot<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var next = 0
        var waiters: [Int: CheckedContinuation<Value?, Never>] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var value: Value? { state.withLock { $0.value } }

    /// Sets the value, if there is none yet.
    package func set(_ value: Value) {
        let waiters = state.withLock { state -> [CheckedContinuation<Value?, Never>] in
            guard state.value == nil else { return [] }
            state.value = value
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: value) }
    }

    /// Waits for the value; throws `CancellationError` when the task is cancelled first.
    package func wait() async throws -> Value {
        let ticket = state.withLock { state in
            state.next += 1
            return state.next
        }
        let value: Value? = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: Value?? = state.withLock { state in
                    if let value = state.value { return .some(.some(value)) }
                    if Task.isCancelled { return .some(.none) }
                    state.waiters[ticket] = continuation
                    return .none
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: ticket) }?.resume(returning: nil)
        }
        guard let value else { throw CancellationError() }
        return value
    }
}

/// A lock for tasks: waiting does not block a thread, and turns come in the order of asking.
package final class AsyncLock: Sendable {
    private struct State {
        var isHeld = false
        var next = 0
        var waiters: [(Int, CheckedContinuation<Bool, Never>)] = []
    }

    private let state = Mutex(State())

    package init() {}

    package func acquire() async throws {
        let ticket = state.withLock { state in
            state.next += 1
            return state.next
        }
        let got = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    if !state.isHeld {
                        state.isHeld = true
                        return true
                    }
                    state.waiters.append((ticket, continuation))
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let index = state.waiters.firstIndex(where: { $0.0 == ticket }) else { return nil }
                return state.waiters.remove(at: index).1
            }
            waiter?.resume(returning: false)
        }
        guard got else { throw CancellationError() }
    }

    package func release() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            if state.waiters.isEmpty {
                state.isHeld = false
                return nil
            }
            return state.waiters.removeFirst().1
        }
        next?.resume(returning: true)
    }
}
