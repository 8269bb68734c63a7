/// A value that is set once and can be waited for by any number of tasks.
package struct OneShot<Value: Sendable>: Sendable {
    private struct Resource: WaitedResource {
        var value: Value?
        var waiting: Set<WaitTicket> = []

        mutating func requested(_ ticket: WaitTicket, _: Void) -> [WaitAnswer<Value>] {
            if let value { return [WaitAnswer(ticket, .success(value))] }
            waiting.insert(ticket)
            return []
        }

        mutating func withdrawn(_ ticket: WaitTicket) -> [WaitAnswer<Value>] {
            waiting.remove(ticket)
            return []
        }

        mutating func returned(_: Value) -> [WaitAnswer<Value>] { [] }

        mutating func set(_ new: Value) -> [WaitAnswer<Value>] {
            guard value == nil else { return [] }
            value = new
            defer { waiting = [] }
            return waiting.map { WaitAnswer($0, .success(new)) }
        }
    }

    private let queue = WaitQueue(Resource())

    package init() {}

    package var value: Value? { queue.read { $0.value } }

    /// Sets the value, if there is none yet.
    package func set(_ value: Value) { queue.update { $0.set(value) } }

    /// Waits for the value; throws `CancellationError` when the task is cancelled first.
    package func wait() async throws -> Value { try await queue.wait(for: ()) }
}
