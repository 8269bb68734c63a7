/// Lets at most `width` tasks through at a time; the others go on in the order of asking.
package struct Turns: WaitedResource {
    private var free: Int
    private var waiting: [WaitTicket] = []

    package init(width: Int) {
        precondition(width > 0, "nobody would ever go on")
        free = width
    }

    package var waitingCount: Int { waiting.count }

    package mutating func requested(_ ticket: WaitTicket, _: Void) -> [WaitAnswer<Void>] {
        waiting.append(ticket)
        return serve()
    }

    package mutating func withdrawn(_ ticket: WaitTicket) -> [WaitAnswer<Void>] {
        waiting.removeAll { $0 == ticket }
        return []
    }

    package mutating func returned(_: Void) -> [WaitAnswer<Void>] {
        free += 1
        return serve()
    }

    private mutating func serve() -> [WaitAnswer<Void>] {
        let served = waiting.prefix(free)
        waiting.removeFirst(served.count)
        free -= served.count
        return served.map { WaitAnswer($0, .success(())) }
    }
}

extension WaitQueue where Resource == Turns {
    /// Runs `body` when it is this task's turn.
    /// - Throws: `CancellationError` when the task is cancelled while it waits; what `body` throws.
    package func pass<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        try await wait(for: ())
        defer { update { $0.returned(()) } }
        return try await body()
    }
}
