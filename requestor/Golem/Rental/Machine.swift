/// A rented machine: an activity in which the image is deployed and started.
public struct Machine: Sendable, Identifiable {
    /// The activity.
    public let id: ActivityID
    /// The provider's node.
    public let providerID: NodeID
    /// Its name, for people.
    public let providerName: String
    /// The agreement under which it runs.
    public let agreementID: AgreementID
    /// What was agreed, the price too.
    public let offer: Offer
    /// When the agreement ends by itself.
    public let expiration: Timestamp
    let rental: RentalID
    let session: ActivitySession

    /// For messages: name and node.
    public var label: String { "\(providerName) (\(providerID))" }

    /// Runs a batch of commands and waits for its end. Batches of one machine run one after another.
    ///
    /// - Parameters:
    ///   - limit: a command that hangs is never reported by the network, so every batch has a limit. When it passes,
    ///     `timedOut` is thrown and the machine is lost.
    ///   - onEvent: live output, for display only.
    /// - Returns: the results, also when a command failed: see ``BatchResult/failure``.
    /// - Throws: `machineLost` when the provider died, left or ended the agreement; `timedOut`; `expired` when the
    ///   agreement came to its end; `closed` when it was closed from here; `unreachable`; `CancellationError`. A machine
    ///   whose batch was cut short is of no more use.
    public func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)? = nil
    ) async throws -> BatchResult {
        try await session.run(commands, limit: limit, onEvent: onEvent)
    }

    /// - Parameter onDone: told how many commands are done, as soon as that is known, but for the end of the batch.
    package func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)?,
        onDone: @Sendable @escaping (Int) -> Void
    ) async throws -> BatchResult {
        try await session.run(commands, limit: limit, onEvent: onEvent, onDone: onDone)
    }

    /// Runs a batch as ``run(_:limit:onEvent:)`` does, and throws `commandFailed` if a command failed.
    @discardableResult
    public func runChecked(_ commands: [Command], limit: Duration) async throws -> [CommandResult] {
        let batch = try await run(commands, limit: limit)
        if let failed = batch.failure { throw commandFailed(failed, of: commands) }
        return batch.results
    }

    /// The error for a failed command, with the end of what it wrote.
    public func commandFailed(_ failed: CommandResult, of commands: [Command]) -> GolemError {
        let command =
            commands.indices.contains(failed.index) ? commands[failed.index].summary : "command \(failed.index)"
        let output = [failed.stderr, failed.stdout].compactMap(\.self).first { !$0.isEmpty }
        return GolemError(
            .commandFailed, "`\(command)` failed: \(failed.message ?? "no reason given")", place: label,
            answer: output.map { String($0.suffix(500)) })
    }

    /// Copies a file into the machine.
    ///
    /// - Parameter to: absolute path on a volume of the image, e.g. `/golem/input/weights`.
    public func send(
        _ source: FileSource, to path: String, limit: Duration,
        onProgress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws {
        try await session.client.serving(source, onProgress: onProgress) { url in
            _ = try await runChecked([.transfer(from: url, to: Command.inMachine(path))], limit: limit)
        }
    }

    /// Copies a file out of the machine. Damage on the way is found; a provider that cheats is not: compare the content
    /// with a hash that the work itself delivers.
    @discardableResult
    public func fetch(
        _ path: String, into local: String, maximumBytes: Int, limit: Duration,
        onProgress: (@Sendable (TransferProgress) -> Void)? = nil
    ) async throws -> ReceivedFile {
        try await session.client.receiving(into: local, maximumBytes: maximumBytes, onProgress: onProgress) { url in
            _ = try await runChecked([.transfer(from: Command.inMachine(path), to: url)], limit: limit)
        }.1
    }

    /// The client, for `serving` and `receiving` around batches that transfer several files.
    public var client: GolemClient { session.client }

    /// Why the machine should be given back when its present work is done (another takes its place); `nil` while it is wanted.
    public var retirement: String? { session.retirement.value }

    /// Why the machine is lost; `nil` while it is alive as far as we know.
    public var lossReason: GolemError? { session.lost.value }
}
