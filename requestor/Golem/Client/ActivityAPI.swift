import NIOCore
import NIOHTTP1

/// Activities: what runs on a provider under an agreement (`/activity-api/v1`).
public struct ActivityAPI: Sendable {
    let client: GolemClient
    private let prefix = "/activity-api/v1/activity"

    init(client: GolemClient) {
        self.client = client
    }

    /// Starts an activity. `timedOut` when the provider's exe-unit does not come up within `timeout`: then there is
    /// nothing to destroy.
    public func create(agreement: AgreementID, timeout: Duration = .seconds(30)) async throws -> ActivityID {
        try await client.call(
            .POST, prefix, query: [("timeout", seconds(timeout))], body: ["agreementId": JSON(agreement)],
            wait: timeout
        ).id(orUnder: "activityId")
    }

    /// Ids of the activities under an agreement.
    public func list(agreement: AgreementID) async throws -> [ActivityID] {
        try await client.call(.GET, prefix, query: [("agreementId", agreement.rawValue)]).list("activities")
            .map { try $0.id(orUnder: "activityId") }
    }

    /// Sends a batch. One at a time: a batch sent while another runs fails at once.
    public func execute(_ commands: [Command], on activity: ActivityID) async throws -> BatchID {
        let script = JSON.array(commands.map(\.json)).description
        return try await client.call(
            .POST, prefix + "/\(activity)/exec", query: [("timeout", "10")],
            body: ["text": .string(script)], wait: .seconds(10)
        ).id(orUnder: "batchId")
    }

    /// Results so far, from index 0.
    ///
    /// - Parameters:
    ///   - command: the index of the command whose end is waited for; the last of the batch where none is given.
    ///   - timeout: how long it is waited for.
    /// - Returns: one result for each command that has ended; of those behind `command` none, or nothing at all where that
    ///   one has not ended.
    public func results(
        of batch: BatchID, on activity: ActivityID, command: Int? = nil, timeout: Duration
    ) async throws -> [CommandResult] {
        try await client.poll(
            .GET, prefix + "/\(activity)/exec/\(batch)",
            query: [("timeout", seconds(timeout)), ("commandIndex", command.map { String($0) })], wait: timeout
        ).map { try CommandResult($0) }
    }

    /// Live events of a batch. For display: a real exe-unit drops events when the reader lags, so ask
    /// ``results(of:on:timeout:)`` for the truth. Ends with the command of index `last`, or with one that failed, and
    /// after `maximumBytes`: a provider decides how much comes, and nobody looks at that much.
    public func stream(
        of batch: BatchID, on activity: ActivityID, last: Int, maximumBytes: Int = 1 << 20,
        _ receive: @Sendable (RuntimeEvent) async throws -> Void
    ) async throws {
        let path = prefix + "/\(activity)/exec/\(batch)"
        var request = HTTPExchange(address: client.address, target: path, headTimeout: .seconds(30))
        request.headers.add(name: "Authorization", value: "Bearer " + client.appKey)
        request.headers.add(name: "Accept", value: "text/event-stream")
        let asked = "GET \(path) (event stream)"
        do {
            // Leaving closes the connection, as it must: the daemon never ends the stream by itself.
            try await request.perform { head, body in
                guard head.status == .ok else {
                    throw client.failure(
                        asked, status: Int(head.status.code), body: try await body.collect(upTo: 1 << 20))
                }
                var parser = EventStreamParser()
                var rest = maximumBytes
                while let chunk = try await body.next(), rest > 0 {
                    rest -= chunk.readableBytes
                    for data in try parser.feed(chunk.readableBytesView) {
                        guard let json = JSON(answer: data) else { continue }
                        let event = try RuntimeEvent(json)
                        try await receive(event)
                        if case .finished(let code, _) = event.kind, event.index >= last || code != 0 { return }
                    }
                }
            }
        } catch let error as GolemError {
            throw error
        } catch {
            try Task.checkCancellation()
            throw GolemError(
                .unreachable, "the stream of a batch broke off", request: asked, place: client.url,
                hint: "an unknown batch and a dead exe-unit look like this; poll the results instead", cause: error)
        }
    }

    /// The state. An unknown activity is a `daemon` error (500), not `notFound`.
    public func state(_ activity: ActivityID) async throws -> ActivityState {
        try ActivityState(await client.call(.GET, prefix + "/\(activity)/state"))
    }

    /// What it has used so far, by its provider's own count: seconds, processor seconds, …, in the order of the offer's usage
    /// vector.
    public func usage(_ activity: ActivityID) async throws -> ActivityUsage {
        try ActivityUsage(await client.call(.GET, prefix + "/\(activity)/usage"))
    }

    /// The agreement an activity belongs to.
    public func agreement(of activity: ActivityID) async throws -> AgreementID {
        try await client.call(.GET, prefix + "/\(activity)/agreement").id(orUnder: "agreementId")
    }

    /// Ends an activity; doing so twice is fine.
    public func destroy(_ activity: ActivityID, timeout: Duration = .seconds(15)) async throws {
        do {
            _ = try await client.call(
                .DELETE, prefix + "/\(activity)", query: [("timeout", seconds(timeout))], wait: timeout)
        } catch let error as GolemError where error.code == .gone || error.code == .notFound {
            return
        }
    }
}

/// Cuts `text/event-stream` into the data of its events.
package struct EventStreamParser {
    private var line: [UInt8] = []
    private var data: [UInt8] = []

    package init() {}

    package mutating func feed(_ bytes: some Sequence<UInt8>) throws -> [[UInt8]] {
        var events: [[UInt8]] = []
        for byte in bytes {
            guard byte == UInt8(ascii: "\n") else {
                line.append(byte)
                guard line.count < 64 << 20 else {
                    throw GolemError(.malformed, "a line of an event stream is longer than 64 MiB")
                }
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty {
                if !data.isEmpty { events.append(data) }
                data = []
            } else if line.starts(with: "data:".utf8) {
                if !data.isEmpty { data.append(UInt8(ascii: "\n")) }
                let value = line.dropFirst(5)
                data += value.first == UInt8(ascii: " ") ? value.dropFirst() : value
            }
            line = []
        }
        return events
    }
}
