struct DeadlineExceeded: Error {}

/// Runs `operation`; if `limit` passes first, cancels it and throws ``DeadlineExceeded`` once it has ended.
func withDeadline<Result: Sendable>(
    _ limit: Duration, _ operation: @Sendable @escaping () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await operation() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let result = first else { throw DeadlineExceeded() }
        return result
    }
}

/// Runs `operation` to its end even if the current task is cancelled: for giving back what was taken.
///
/// The one place where a task is made outside a group. It is awaited at once, so it never outlives its caller.
func shielded<Result: Sendable>(_ operation: @Sendable @escaping () async throws -> Result) async throws -> Result {
    try await Task { try await operation() }.value
}

func shielded<Result: Sendable>(_ operation: @Sendable @escaping () async -> Result) async -> Result {
    await Task { await operation() }.value
}

extension Duration {
    /// For a person: `30 s`.
    var text: String { "\(Int(inSeconds.rounded())) s" }
}
