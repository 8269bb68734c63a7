import Foundation
import Tensors

/// The files of a run, and where they lie.
///
/// ```
/// RUN/config.json           effective settings
///     data.json             which data, by its content, and what was decided about it (RunData)
///     metrics.jsonl         a line a round (RoundMetrics), round 0 being the untrained model
///     events.jsonl          a line an event (RunEvent)
///     rounds/0003/          weights.safetensors, round.json, server.safetensors, reports.jsonl (a line an
///                           attempt, AttemptRecord), with keep_deltas delta-0007.safetensors.gz, with
///                           local_batch_norm clients.safetensors (LocalBatchNorm)
///     clients/0007.safetensors     with local_batch_norm, once the run has ended: each client's own model
///     shards/0007.safetensors.gz   and shards.json; only where the fleet needs files
///     model.safetensors     weights of the last finished round
///     best.safetensors      weights of the best round
///     comparison.json       once it is done, so that a resume need not do it again
///     mistakes.json         the surest mistakes on a test set of pictures (Mistake); made before the summary
///     summary.json          once the run has ended
///     report.html
///     tensorboard/          the curves for TensorBoard
/// ```
///
/// A round exists when its folder does: it is written as `rounds/0003.partial` and renamed. Everything else about finished
/// rounds can be made from these folders, and is, when a run is resumed.
public struct RunFolder: Sendable, Hashable {
    public let path: String

    public init(path: String) {
        self.path = path
    }

    public var config: String { path + "/config.json" }
    public var data: String { path + "/data.json" }
    public var metrics: String { path + "/metrics.jsonl" }
    public var events: String { path + "/events.jsonl" }
    public var model: String { path + "/model.safetensors" }
    public var best: String { path + "/best.safetensors" }
    public var comparison: String { path + "/comparison.json" }
    public var summary: String { path + "/summary.json" }
    public var mistakes: String { path + "/mistakes.json" }
    public var report: String { path + "/report.html" }
    public var tensorBoard: String { path + "/tensorboard" }
    public var rounds: String { path + "/rounds" }
    public var shards: String { path + "/shards" }
    /// Names, digests and sizes of the shards' files.
    public var shardList: String { shards + "/shards.json" }
    /// `shards/0007.safetensors.gz`
    public func shard(_ client: Int) -> String { shards + "/" + Self.padded(client) + ".safetensors.gz" }
    /// Task folders of workers on this machine and a fleet's own files; removed when a run ends.
    public var work: String { path + "/work" }
    /// Held while a process works on the run.
    public var lock: String { path + "/lock" }

    /// `rounds/0003`
    public func round(_ round: Int) -> String { rounds + "/" + Self.padded(round) }
    public func weights(round: Int) -> String { self.round(round) + "/weights.safetensors" }
    public func metrics(round: Int) -> String { self.round(round) + "/round.json" }
    public func serverState(round: Int) -> String { self.round(round) + "/server.safetensors" }
    /// What stays with each client.
    public func clientState(round: Int) -> String { self.round(round) + "/" + Self.clientStateName }
    /// `clients/0007.safetensors`
    public func clientModel(_ client: Int) -> String { clients + "/" + Self.padded(client) + ".safetensors" }
    public var clients: String { path + "/clients" }
    /// What clients begin a round with, where it is not the same for all.
    var clientWeights: String { work + "/clients" }
    /// How the attempts of a round ended, a line each: see ``readReports(round:)``.
    public func reports(round: Int) -> String { self.round(round) + "/" + Self.reportsName }

    static let reportsName = "reports.jsonl"
    static let clientStateName = "clients.safetensors"
    static func deltaName(client: Int) -> String { "delta-\(padded(client)).safetensors.gz" }

    /// Four digits, more where needed.
    static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    // MARK: Reading what a run has left

    public func readConfiguration() throws -> RunConfiguration { try decode(config) }
    /// Nil for a run of before there was such a file.
    public func readData() throws -> RunData? { Files.exists(data) ? try decode(data) : nil }
    public func readSummary() throws -> Summary { try decode(summary) }
    /// None where there are none.
    public func readMistakes() throws -> [Mistake] { Files.exists(mistakes) ? try decode(mistakes) : [] }
    public func readMetrics() throws -> [RoundMetrics] { try decodeLines(metrics) }
    public func readEvents() throws -> [RunEvent] { try decodeLines(events) }
}
