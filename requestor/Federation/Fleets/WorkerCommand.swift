import NeuralNetwork
import Tensors
import Worker

/// How a fleet that has real machines talks to `deml-worker`: the arguments it is started with, the lines it prints.
public enum WorkerCommand {
    /// The arguments of `deml-worker` for an assignment whose files lie at the given paths, on whatever machine that is.
    public static func arguments(
        for assignment: TrainAssignment, weights: String, shard: String, delta: String, report: String
    ) -> [String] {
        let options = assignment.options
        var arguments = [
            "train", "--weights", weights, "--shard", shard, "--delta", delta, "--report", report,
            "--epochs", "\(options.epochs)", "--batch-size", "\(options.batchSize)",
        ]
        // Swift prints the shortest text that reads back as the same number.
        arguments += ["--optimizer", options.optimizer.type]
        arguments += ["--learning-rate", "\(options.optimizer.learningRate)"]
        for (key, value) in options.optimizer.values {
            switch value {
            case .number(let number): arguments += ["--" + key.replacing("_", with: "-"), "\(number)"]
            case .flag(let flag): if flag { arguments.append("--" + key) }
            case .pair(let first, let second): arguments += ["--beta1", "\(first)", "--beta2", "\(second)"]
            }
        }
        if options.labelSmoothing != 0 { arguments += ["--label-smoothing", "\(options.labelSmoothing)"] }
        if !options.shuffle { arguments.append("--no-shuffle") }
        arguments += ["--seed", "\(options.seed)"]
        if let threads = assignment.threads { arguments += ["--threads", "\(threads)"] }
        if let maxSeconds = assignment.maxSeconds { arguments += ["--max-seconds", "\(maxSeconds)"] }
        return arguments
    }

    /// Reads a line such as `epoch 1/5 loss 0.2931 accuracy 0.9123 samples_per_second 41234`; `nil` for any other.
    public static func epoch(fromLine line: String) -> EpochProgress? {
        let words = line.split(separator: " ")
        guard words.count >= 2, words[0] == "epoch" else { return nil }
        let counts = words[1].split(separator: "/")
        guard counts.count == 2, let epoch = Int(counts[0]), let epochs = Int(counts[1]), epoch >= 1, epoch <= epochs
        else { return nil }
        let values = pairs(words.dropFirst(2))
        guard let loss = values["loss"].flatMap({ Double($0) }) else { return nil }
        return EpochProgress(
            epoch: epoch, epochs: epochs, loss: loss, accuracy: values["accuracy"].flatMap { Double($0) },
            samplesPerSecond: values["samples_per_second"].flatMap { Double($0) } ?? 0)
    }

    /// Reads a line such as `delta_sha256 1f…`; `nil` for any other.
    public static func deltaDigest(fromLine line: String) -> String? {
        let words = line.split(separator: " ")
        guard words.count == 2, words[0] == "delta_sha256", words[1].utf8.count == 64 else { return nil }
        return String(words[1])
    }

    private static func pairs(_ words: ArraySlice<Substring>) -> [String: String] {
        var values: [String: String] = [:]
        var rest = words
        while let key = rest.popFirst(), let value = rest.popFirst() { values[String(key)] = String(value) }
        return values
    }
}

/// What a worker has left behind, checked as what comes from a stranger.
public enum DeliveredFiles {
    /// Reads a delta and its report and makes sure that they are the answer to this assignment: the report says `ok`, the
    /// file is the one the report tells of, it was made from these weights, this shard and these options, and every
    /// number is finite.
    /// - Parameter printedDigest: the `delta_sha256` that the worker printed, where it is known.
    /// - Throws: `DeMLError` that says what does not fit. Damage on the way shows as a `.mismatch` of SHA-256.
    public static func verify(
        delta deltaPath: String, report: Report, assignment: TrainAssignment, printedDigest: String? = nil
    ) throws(DeMLError) -> Update {
        guard report.status == .ok else {
            throw DeMLError(.workerFailed, "the report says '\(report.status.rawValue)', not 'ok'")
        }
        let delta = try Delta(contentsOf: deltaPath, model: assignment.weights.weights.model)
        for (source, digest) in [("report", report.deltaSHA256), ("worker's output", printedDigest)] {
            if let digest, digest != delta.sha256 {
                throw DeMLError(
                    .mismatch, "the delta's SHA-256 is \(delta.sha256 ?? "unknown"), but the \(source) says \(digest)",
                    place: deltaPath)
            }
        }
        guard report.deltaSHA256 != nil || printedDigest != nil else {
            throw DeMLError(.missing, "the report does not tell the delta's SHA-256")
        }
        guard let weights = assignment.weights.file, let shard = assignment.shard.file else {
            throw DeMLError(.internal, "an assignment without files cannot be checked against files")
        }
        try delta.check(weightsSHA256: weights.sha256, shardSHA256: shard.sha256, options: assignment.options)
        guard delta.examples == assignment.shard.count else {
            throw DeMLError(
                .mismatch,
                "the delta stands for \(delta.examples) examples, but the shard has \(assignment.shard.count)")
        }
        guard delta.steps > 0 else { throw DeMLError(.mismatch, "the worker did no step at all") }
        return Update(client: assignment.client, examples: assignment.shard.count, values: delta.parameters)
    }
}
