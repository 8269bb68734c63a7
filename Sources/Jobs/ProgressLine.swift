import Tensors

/// One epoch as a worker's stdout tells it.
public struct EpochProgress: Sendable, Hashable, Codable {
    /// From 1.
    public var epoch: Int
    public var epochs: Int
    public var loss: Double
    /// Between 0 and 1; absent for regression.
    public var accuracy: Double?
    public var samplesPerSecond: Double

    public init(epoch: Int, epochs: Int, loss: Double, accuracy: Double?, samplesPerSecond: Double) {
        self.epoch = epoch
        self.epochs = epochs
        self.loss = loss
        self.accuracy = accuracy
        self.samplesPerSecond = samplesPerSecond
    }

    enum CodingKeys: String, CodingKey {
        case epoch, epochs, loss, accuracy
        case samplesPerSecond = "samples_per_second"
    }
}

/// The lines that a worker prints on stdout, and nothing else is printed there:
///
///     epoch 1/5 loss 0.293123 accuracy 0.912300 samples_per_second 41234
///     delta_sha256 <64 hexadecimal digits>
///
/// Words and values, separated by one space, flushed line by line. A regression has no `accuracy`. A Golem guest loses
/// output beyond 4096 bytes, so of many epochs only every n-th is told, at most about 40, and always the last.
///
/// They are for eyes only: nothing that counts is read from stdout. The digest is there for a person, and nobody parses it.
public enum ProgressLine: Sendable, Equatable {
    case epoch(EpochProgress)
    /// The delta is written.
    case delta(sha256: String)

    /// Epochs that are told at most, but for the last.
    public static let maximumEpochs = 40

    /// The line without its newline; nil when this epoch is not told.
    public var text: String? {
        switch self {
        case .epoch(let progress):
            let step = max(1, (progress.epochs + Self.maximumEpochs - 1) / Self.maximumEpochs)
            guard progress.epoch == progress.epochs || progress.epoch.isMultiple(of: step) else { return nil }
            var line = "epoch \(progress.epoch)/\(progress.epochs) loss \(decimal(progress.loss, places: 6))"
            if let accuracy = progress.accuracy { line += " accuracy \(decimal(accuracy, places: 6))" }
            return line + " samples_per_second \(decimal(progress.samplesPerSecond, places: 0))"
        case .delta(let sha256):
            return "delta_sha256 \(sha256)"
        }
    }

    /// The epoch that a line tells of a job with so many; nil for every line that ``text`` would not write of it.
    static func epoch(_ line: [UInt8], of epochs: Int) -> EpochProgress? {
        // The longest line that `text` writes is shorter.
        guard line.count <= 200 else { return nil }
        let words = String(decoding: line, as: UTF8.self)
            .split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 6 || words.count == 8, words[0] == "epoch", words[2] == "loss",
            words[words.count - 2] == "samples_per_second", words.count == 6 || words[4] == "accuracy"
        else { return nil }
        let counts = words[1].split(separator: "/", omittingEmptySubsequences: false)
        guard counts.count == 2, let epoch = Int(counts[0]), Int(counts[1]) == epochs,
            (1...max(1, epochs)).contains(epoch),
            let loss = Double(words[3]), loss.magnitude <= Receipt.maximumLoss,
            let rate = Double(words[words.count - 1]), rate >= 0, rate.isFinite
        else { return nil }
        var accuracy: Double?
        if words.count == 8 {
            guard let share = Double(words[5]), (0...1).contains(share) else { return nil }
            accuracy = share
        }
        return EpochProgress(
            epoch: epoch, epochs: epochs, loss: loss, accuracy: accuracy,
            samplesPerSecond: min(rate, Receipt.maximumRate))
    }
}

/// Reads the epochs out of a worker's stdout as it comes, in pieces of any length; everything else in it is ignored.
///
/// Its time is linear in the bytes and its memory a line, whatever a stranger prints. Epochs must come in order, and no
/// more of them count than a worker tells.
public struct ProgressReader: Sendable {
    private let epochs: Int
    private var lines = LineSplitter(maximumLineBytes: 256)
    private var last = 0
    private var told = 0

    /// - Parameter epochs: of the job; 0 where none are expected.
    public init(epochs: Int) {
        self.epochs = epochs
    }

    /// - Parameter examples: of the job's shard.
    public init(_ job: WorkerJob, examples: Int) {
        self.init(epochs: job.training?.epochs(examples: examples) ?? 0)
    }

    /// The epochs that the next piece of stdout completes.
    public mutating func take(_ bytes: some Sequence<UInt8>) -> [EpochProgress] {
        var found: [EpochProgress] = []
        for line in lines.take(bytes) {
            guard told <= ProgressLine.maximumEpochs, let progress = ProgressLine.epoch(line, of: epochs),
                progress.epoch > last
            else { continue }
            last = progress.epoch
            told += 1
            found.append(progress)
        }
        return found
    }
}

/// A number with a fixed number of decimal places; one too large for that as Swift writes it.
package func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite, abs(value) < 1e9 else { return "\(value)" }
    var unit = 1.0
    for _ in 0..<places { unit *= 10 }
    let scaled = Int((abs(value) * unit).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let whole = scaled / Int(unit)
    let fraction = String(scaled % Int(unit))
    return "\(sign)\(whole)." + String(repeating: "0", count: places - fraction.utf8.count) + fraction
}
