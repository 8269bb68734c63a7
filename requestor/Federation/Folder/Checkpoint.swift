import Foundation
import Jobs
import Tensors

/// What is kept of one worker's answer: `rounds/0003/worker-0007.json`.
public struct WorkerRecord: Codable, Sendable {
    public var client: Int
    public var attempt: Int
    public var provider: Provider
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double?
    public var norm: Double
    /// As the worker wrote it.
    public var report: Receipt

    enum CodingKeys: String, CodingKey {
        case client, attempt, provider, seconds, norm, report
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
    }
}

/// `rounds/0003/round.json`: what the round came to, and all that the next one needs to know beside weights and server
/// state.
public struct RoundRecord: Codable, Sendable, Equatable {
    public var metrics: RoundMetrics
    /// The best round up to this one.
    public var bestRound: Int
    public var bestAccuracy: Double?
    public var bestLoss: Double
    /// What each provider has done up to this round.
    public var workers: [WorkerTotals]
    /// Sums over all rounds up to this one.
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double
    public var failures: Int
    /// Whether the rounds of the run end here, as the wanted accuracy is reached.
    public var isLast: Bool

    enum CodingKeys: String, CodingKey {
        case metrics, workers, seconds, failures
        case bestRound = "best_round"
        case bestAccuracy = "best_accuracy"
        case bestLoss = "best_loss"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case isLast = "is_last"
    }

    /// The record of the untrained model.
    init(initial metrics: RoundMetrics) {
        self.metrics = metrics
        bestRound = 0
        bestAccuracy = metrics.accuracy
        bestLoss = metrics.loss
        workers = []
        seconds = 0
        bytesUp = 0
        bytesDown = 0
        costGLM = 0
        failures = 0
        isLast = false
    }

    /// Whether a result on the test set is better than the best so far: by accuracy, by loss among equals and for
    /// regression. A NaN is never better.
    func isImproved(by accuracy: Double?, loss: Double) -> Bool {
        if bestLoss.isNaN { return !loss.isNaN }
        if let accuracy, let bestAccuracy, accuracy != bestAccuracy { return accuracy > bestAccuracy }
        return loss < bestLoss
    }
}

/// A finished round as it is written and found again.
struct Checkpoint: Sendable {
    var record: RoundRecord
    /// The weights file.
    var weights: [UInt8]
    /// State of the server's optimiser.
    var serverState: [String: [Double]]
    /// Records of the round's workers, by file name: nothing of the next round depends on them.
    var records: [(name: String, record: any Encodable & Sendable)] = []
    /// Files to be moved into the round's folder, by their new names.
    var moved: [(path: String, name: String)] = []

    var round: Int { record.metrics.round }
}

/// Writes and finds checkpoints. A round is there when its folder is: it is written beside and renamed. Files outside the
/// rounds' folders repeat what these hold, so that ``recover()`` can make them anew.
struct CheckpointStore: Sendable {
    let folder: RunFolder
    var storage = RunStorage()

    /// Saves a round. A process that ends at any moment in here leaves this round or the one before.
    func save(_ checkpoint: Checkpoint) throws {
        let final = folder.round(checkpoint.round)
        let partial = final + ".partial"
        try storage.createDirectory(folder.rounds)
        try storage.remove(partial)
        try storage.createDirectory(partial)
        try storage.write(checkpoint.weights, to: partial + "/weights.safetensors", isSynchronized: true)
        if !checkpoint.serverState.isEmpty {
            let tensors = checkpoint.serverState.sorted { $0.key < $1.key }
                .map { (name: $0.key, tensor: Tensor(shape: [$0.value.count], doubles: $0.value)) }
            try storage.write(
                Safetensors(tensors: tensors).encoded(), to: partial + "/server.safetensors", isSynchronized: true)
        }
        for (name, record) in checkpoint.records {
            try storage.write(try RunJSON.encode(record), to: partial + "/" + name, isSynchronized: false)
        }
        for file in checkpoint.moved {
            try storage.rename(file.path, to: partial + "/" + file.name)
        }
        try storage.write(try RunJSON.encode(checkpoint.record), to: partial + "/round.json", isSynchronized: true)
        try storage.synchronizeFolder(partial)
        try storage.rename(partial, to: final)
        try storage.synchronizeFolder(folder.rounds)

        try storage.link(folder.weights(round: checkpoint.round), as: folder.model)
        if checkpoint.record.bestRound == checkpoint.round {
            try storage.link(folder.weights(round: checkpoint.round), as: folder.best)
        }
        try storage.append(try RunJSON.encodeLine(checkpoint.record.metrics), to: folder.metrics)
    }

    /// The last finished round, `nil` when there is none; removes what unfinished ones have left and puts everything
    /// that repeats the rounds' folders in order.
    func recover() throws -> Checkpoint? {
        guard Files.isDirectory(folder.rounds) else { return nil }
        var finished: [Int] = []
        for name in try Files.names(in: folder.rounds) {
            if name.hasSuffix(".partial") {
                try storage.remove(folder.rounds + "/" + name)
            } else if let round = Int(name), RunFolder.padded(round) == name {
                finished.append(round)
            }
        }
        finished.sort()
        guard let last = finished.last else { return nil }
        guard finished == Array(0...last) else {
            let missing = (0...last).first { !finished.contains($0) } ?? 0
            throw DeMLError(
                .missing, "round \(missing) is missing though round \(last) is there", place: folder.rounds,
                hint: "remove the rounds after it to go on from the one before")
        }
        let records: [RoundRecord] = try finished.map { try folder.decode(folder.metrics(round: $0)) }
        let record = records[last]
        guard record.metrics.round == last else {
            throw DeMLError(
                .mismatch, "it is the record of round \(record.metrics.round)", place: folder.metrics(round: last))
        }
        let weights = try Files.read(folder.weights(round: last), maximumBytes: 64 << 30)
        guard sha256Hex(weights) == record.metrics.weightsSHA256 else {
            throw DeMLError(
                .mismatch, "it is not the file that was written (its SHA-256 is another)",
                place: folder.weights(round: last), hint: "remove \(folder.round(last)) to go on from the round before")
        }
        var state: [String: [Double]] = [:]
        if Files.exists(folder.serverState(round: last)) {
            for (name, tensor) in try Safetensors(contentsOf: folder.serverState(round: last)).tensors {
                state[name] = try tensor.doubles()
            }
        }
        try repair(records)
        return Checkpoint(record: record, weights: weights, serverState: state)
    }

    private func repair(_ records: [RoundRecord]) throws {
        guard let record = records.last else { return }
        let lines = try records.flatMap { try RunJSON.encodeLine($0.metrics) }
        if (try? Files.read(folder.metrics, maximumBytes: 1 << 30)) != lines {
            try storage.replace(folder.metrics, with: lines)
        }
        try storage.link(folder.weights(round: record.metrics.round), as: folder.model)
        try storage.link(folder.weights(round: record.bestRound), as: folder.best)
        if let events = try? Files.read(folder.events, maximumBytes: 1 << 30), let end = events.last,
            end != UInt8(ascii: "\n")
        {
            let whole = events.lastIndex(of: UInt8(ascii: "\n")).map { Array(events[...$0]) } ?? []
            try storage.replace(folder.events, with: whole)
        }
    }
}

extension Tensor {
    /// The values of an F64 tensor.
    func doubles() throws(DeMLError) -> [Double] {
        guard dtype == .f64 else { throw DeMLError(.dtype, "the tensor is \(dtype.rawValue), but F64 was expected") }
        return withUnsafeBytes { bytes in
            (0..<count).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
        }
    }
}
