import NeuralNetwork
import Tensors

/// The border: what a stranger's receipt must be before anything else sees it.
extension Receipt {
    /// No time in a receipt is longer, in seconds: thirty years.
    public static let maximumSeconds = 1e9
    /// No machine is faster, in examples a second. What a coarse clock gives beyond that is cut to it.
    public static let maximumRate = 1e12
    /// No loss of single precision is larger.
    public static let maximumLoss = Double(Float.greatestFiniteMagnitude)

    /// The receipt as far as it can be trusted: an answer to this job, every number finite, in range and no larger than
    /// the job can give, every text harmless. Whatever is shown or summed afterwards cannot overflow.
    ///
    /// - Parameter examples: how many the shard has.
    /// - Throws: `workerFailed` where the receipt says that there is no result, `mismatch` where it answers another
    ///   question, `outOfRange`, `notFinite` and `missing` where it cannot be true.
    public func checked(for job: WorkerJob, examples: Int) throws(DeMLError) -> Receipt {
        var receipt = harmless
        switch (receipt.outcome, job.kind) {
        case (.running, _):
            throw DeMLError(.workerFailed, "the report says 'running', not 'ok'")
        case (.refused(let refusal), _):
            throw DeMLError(.workerFailed, "the report says 'error', not 'ok': \(refusal.message)")
        case (.trained(var training), .train(let options)):
            try Self.checkCount("examples", training.examples, is: examples)
            try training.check(options, job.limits)
            try training.machine.check()
            try training.digests.check(job)
            receipt.outcome = .trained(training)
        case (.evaluated(var evaluation), .evaluate):
            try Self.checkCount("examples", evaluation.examples, is: examples)
            try evaluation.check()
            try evaluation.machine.check()
            try evaluation.digests.check(job)
            receipt.outcome = .evaluated(evaluation)
        case (.predicted(var prediction), .predict):
            try Self.checkCount("examples", prediction.examples, is: examples)
            try prediction.machine.check()
            try prediction.digests.check(job)
            receipt.outcome = .predicted(prediction)
        default:
            throw DeMLError(.mismatch, "the report is of '\(receipt.command)', but the job was '\(job.kind.name)'")
        }
        return receipt
    }

    /// The same receipt with every text in it made safe to print and cut.
    var harmless: Receipt {
        var receipt = self
        receipt.command = command.harmless(maximum: 20)
        receipt.version = version.harmless(maximum: 40)
        switch outcome {
        case .running: break
        case .trained(var training):
            training.machine.isa = training.machine.isa.harmless(maximum: 20)
            receipt.outcome = .trained(training)
        case .evaluated(var evaluation):
            evaluation.machine.isa = evaluation.machine.isa.harmless(maximum: 20)
            receipt.outcome = .evaluated(evaluation)
        case .predicted(var prediction):
            prediction.machine.isa = prediction.machine.isa.harmless(maximum: 20)
            receipt.outcome = .predicted(prediction)
        case .refused(let refusal):
            receipt.outcome = .refused(
                Refusal(
                    stage: refusal.stage.harmless(maximum: 40), code: refusal.code?.harmless(maximum: 40),
                    message: refusal.message.harmless(maximum: 2000), hint: refusal.hint?.harmless(maximum: 500),
                    file: refusal.file?.harmless(maximum: 500)))
        }
        return receipt
    }

    static func checkCount(_ name: String, _ count: Int, is expected: Int) throws(DeMLError) {
        guard count == expected else {
            throw DeMLError(.mismatch, "the report tells of \(count) \(name), but there are \(expected)")
        }
    }

    static func checkNumber(
        _ name: String, _ value: Double, in range: ClosedRange<Double>
    ) throws(DeMLError) {
        guard value.isFinite else { throw DeMLError(.notFinite, "the report's \(name) is \(value)") }
        guard range.contains(value) else {
            throw DeMLError(
                .outOfRange, "the report's \(name) \(value) is not between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    static func checkResult(loss: Double, accuracy: Double?) throws(DeMLError) {
        try checkNumber("loss", loss, in: -maximumLoss...maximumLoss)
        if let accuracy { try checkNumber("accuracy", accuracy, in: 0...1) }
    }
}

extension Receipt.Machine {
    fileprivate mutating func check() throws(DeMLError) {
        try Receipt.checkNumber("seconds", seconds, in: 0...Receipt.maximumSeconds)
        try Receipt.checkNumber("samples_per_second", samplesPerSecond, in: 0...Double.greatestFiniteMagnitude)
        samplesPerSecond = min(samplesPerSecond, Receipt.maximumRate)
        guard WorkerJob.threads.contains(threads) else {
            throw DeMLError(.outOfRange, "the report tells of \(threads) threads")
        }
    }
}

extension Receipt.Digests {
    fileprivate func check(_ job: WorkerJob) throws(DeMLError) {
        for (role, said) in [(WorkerJob.Role.weights, weights), (.shard, shard)] {
            guard let asked = job.inputs[role]?.sha256, said != asked else { continue }
            throw DeMLError(
                .mismatch,
                "the report is for the \(role.rawValue) \((said ?? "?").quotedForMessage), but \(asked) was sent")
        }
        guard let name = job.kind.output else { return }
        guard let output else { throw DeMLError(.missing, "the report does not tell the SHA-256 of the \(name)") }
        guard output.isSHA256 else {
            throw DeMLError(.malformed, "the report has \(output.quotedForMessage) for the SHA-256 of the \(name)")
        }
    }
}

extension Receipt.Training {
    /// The number of steps follows from options and shard. Fewer are an answer only where partial work is permitted, and
    /// then every number must say so.
    fileprivate func check(_ options: TrainingOptions, _ limits: WorkerJob.Limits) throws(DeMLError) {
        let all = options.steps(examples: examples)
        let isComplete = steps == all && !stoppedEarly
        guard isComplete || limits.allowsPartialWork else {
            throw DeMLError(
                .mismatch,
                "the report tells of \(steps) steps\(stoppedEarly ? ", stopped early" : ""), but the job has \(all)")
        }
        guard isComplete || (stoppedEarly && steps >= 1 && steps < all) else {
            throw DeMLError(
                .mismatch,
                "the report tells of \(steps) of \(all) steps and \(stoppedEarly ? "that" : "not that") it stopped early"
            )
        }
        let perEpoch = max(1, options.stepsPerEpoch(examples: examples))
        try Receipt.checkCount("epochs", epochs.count, is: (steps - 1) / perEpoch + 1)
        for epoch in epochs {
            try Receipt.checkResult(loss: epoch.loss, accuracy: epoch.accuracy)
            try Receipt.checkNumber("seconds of an epoch", epoch.seconds, in: 0...Receipt.maximumSeconds)
        }
    }
}

extension Receipt.Evaluation {
    fileprivate func check() throws(DeMLError) {
        try Receipt.checkResult(loss: loss, accuracy: accuracy)
        var counted = 0
        for row in confusion {
            try Receipt.checkCount("columns of the confusion", row.count, is: confusion.count)
            for count in row {
                guard (0...examples).contains(count), counted + count <= examples else {
                    throw DeMLError(.outOfRange, "the report's confusion counts more than \(examples) examples")
                }
                counted += count
            }
        }
        if !confusion.isEmpty { try Receipt.checkCount("examples in the confusion", counted, is: examples) }
    }
}

extension Receipt.Training {
    /// The share of the job that was done, by optimiser steps: 1 unless it was stopped early, above 0.
    public func workDone(of options: TrainingOptions) -> Double {
        let all = options.steps(examples: examples)
        return steps >= all ? 1 : Double(steps) / Double(all)
    }
}
