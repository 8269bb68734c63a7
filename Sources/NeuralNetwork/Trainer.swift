import CKernels
import Tensors

/// One pass over the examples, as it went while training (with dropout, each batch before its step).
public struct EpochResult: Sendable, Equatable, Codable {
    /// Mean over the examples seen.
    public var loss: Double
    /// Share of the examples seen that were classified right; nil for a regression.
    public var accuracy: Double?
    public var seconds: Double
    /// Examples seen: fewer than there are if training was stopped in this epoch.
    public var examples: Int
}

/// Where training stands after a batch.
public struct BatchProgress: Sendable {
    /// From 0, within this call of `train`.
    public var epoch: Int
    /// Steps done in all epochs of this call.
    public var step: Int
    /// Examples of this epoch seen so far.
    public var examples: Int
    /// Examples of an epoch.
    public var total: Int
    /// Mean over the examples of this epoch seen so far.
    public var loss: Double
    /// Since the epoch began.
    public var seconds: Double
}

/// What training did.
public struct TrainingResult: Sendable, Equatable {
    /// Size of the set.
    public var examples: Int
    /// Examples trained on, each as often as it was.
    public var samples: Int
    public var steps: Int
    public var epochs: [EpochResult]
    public var seconds: Double
    /// False if it was stopped before the last batch.
    public var isComplete: Bool
}

/// Trains a model on examples by stochastic gradient descent.
///
/// Same weights, examples, options: same result, byte for byte, with any number of threads and on any machine. To be
/// used by one caller at a time; any number of trainers may run side by side.
public final class Trainer {
    public let options: TrainingOptions
    public let instructionSet: InstructionSet
    private let model: ModelDescription
    private let round: Int
    private let kernels: KernelPool
    private let elapsed: () -> Duration
    private var parameters: [Float]
    private var session: (network: Network, objective: Objective)?
    private var epochsBegun: UInt32 = 0

    /// - Parameters:
    ///   - threads: those that share the work of a batch, at least 1.
    ///   - instructionSet: nil for the fastest.
    ///   - clock: for the seconds in the results.
    public init(
        weights: Weights, options: TrainingOptions, threads: Int = 1, instructionSet: InstructionSet? = nil,
        clock: some Clock<Duration> = ContinuousClock()
    ) throws(DeMLError) {
        try options.validate()
        guard options.labelSmoothing == 0 || weights.model.loss == .crossEntropy else {
            throw DeMLError(.usage, "label_smoothing is an option of cross_entropy, not of mse", place: "options")
        }
        self.options = options
        model = weights.model
        round = weights.round
        parameters = weights.parameters
        kernels = try KernelPool(threads: threads, instructionSet: instructionSet)
        self.instructionSet = kernels.instructionSet
        let start = clock.now
        elapsed = { start.duration(to: clock.now) }
    }

    /// The weights as they are now.
    public var weights: Weights {
        Weights(unchecked: model, round: round, session?.network.parameterValues() ?? parameters)
    }

    /// Trains for `options.epochs` passes. Called again, it goes on: the optimiser's state and the number of the epoch
    /// (of which shuffling and dropout depend) are kept.
    ///
    /// The order of epoch `e` is 0 ..< count shuffled by `SeededGenerator(seed: seed, purpose: "shuffle", e)`.
    /// - Parameters:
    ///   - shouldStop: asked after each batch; training ends where it says true.
    /// Throws `notFinite` as soon as the loss or, at the end, a weight is no finite number.
    public func train(
        on examples: Examples, shouldStop: () -> Bool = { false }, onBatch: (BatchProgress) -> Void = { _ in },
        onEpoch: (EpochResult) -> Void = { _ in }
    ) throws(DeMLError) -> TrainingResult {
        guard examples.count > 0 else { throw DeMLError(.missing, "there are no examples to train on") }
        let (network, objective) = try session(for: min(options.batchSize, examples.count))
        let start = elapsed()
        var result = TrainingResult(
            examples: examples.count, samples: 0, steps: 0, epochs: [], seconds: 0, isComplete: true)
        for epoch in 0..<options.epochs where result.isComplete {
            network.pass.seed = options.seed
            network.pass.epoch = epochsBegun
            let order = order(of: examples)
            epochsBegun += 1
            let finished = try examples.x.withUnsafeBytes { (x) throws(DeMLError) in
                try order.withPointer { (rows) throws(DeMLError) in
                    try run(
                        epoch, network, objective, Source(examples: examples, x: x, rows: rows), shouldStop, onBatch,
                        &result)
                }
            }
            result.isComplete =
                finished || epoch == options.epochs - 1 && result.epochs[epoch].examples == examples.count
            onEpoch(result.epochs[epoch])
        }
        guard network.isFinite else {
            throw DeMLError(.notFinite, "a weight became infinite in training", hint: "try a lower learning rate")
        }
        result.seconds = (elapsed() - start).inSeconds
        return result
    }

    /// One epoch; false if it was stopped.
    private func run(
        _ epoch: Int, _ network: Network, _ objective: Objective, _ source: Source, _ shouldStop: () -> Bool,
        _ onBatch: (BatchProgress) -> Void, _ result: inout TrainingResult
    ) throws(DeMLError) -> Bool {
        let start = elapsed()
        let total = source.examples.count
        var sum = BatchResult()
        var seen = 0
        var step: UInt32 = 0
        var isStopped = false
        while seen < total, !isStopped {
            network.pass.step = step
            let count = min(options.batchSize, total - seen)
            let rows = source.rows + seen
            network.setInput(source.base, isBytes: source.isBytes, rows: rows, count: count)
            objective.setTargets(source.examples.y, rows: rows, first: 0, count: count)
            network.forward()
            let batch = objective.compare()
            guard batch.loss.isFinite else {
                throw DeMLError(
                    .notFinite, "the loss became \(batch.loss) in epoch \(epoch + 1), batch \(step + 1)",
                    hint: "try a lower learning rate, or scale the inputs (divide_by)")
            }
            network.backward()
            sum.loss += batch.loss
            sum.correct += batch.correct
            seen += count
            step += 1
            result.steps += 1
            result.samples += count
            onBatch(
                BatchProgress(
                    epoch: epoch, step: result.steps, examples: seen, total: total, loss: sum.loss / Double(seen),
                    seconds: (elapsed() - start).inSeconds))
            isStopped = shouldStop()
        }
        result.epochs.append(
            EpochResult(
                loss: sum.loss / Double(seen),
                accuracy: model.loss == .crossEntropy ? Double(sum.correct) / Double(seen) : nil,
                seconds: (elapsed() - start).inSeconds, examples: seen))
        return !isStopped
    }

    /// The network, made when its batches are known. A larger set than before may need a larger one.
    private func session(for batch: Int) throws(DeMLError) -> (network: Network, objective: Objective) {
        if let session, session.network.batchCapacity >= batch { return session }
        if session != nil {
            throw DeMLError(
                .usage, "a trainer cannot go on with larger batches", hint: "train on the larger set first")
        }
        let network = try Network(
            model: model, purpose: .training(options.optimizer), batchCapacity: batch, kernels: kernels)
        network.load(parameters)
        parameters = []
        let made = (network, try Objective(network, labelSmoothing: options.labelSmoothing))
        session = made
        return made
    }

    /// Rows of the data set in the order in which this epoch takes them.
    private func order(of examples: Examples) -> [Int64] {
        var order = examples.indices ?? Array(0..<Int64(examples.count))
        if options.shuffle {
            var generator = SeededGenerator(seed: options.seed, purpose: "shuffle", epochsBegun)
            generator.shuffle(&order)
        }
        return order
    }

    /// The examples of an epoch, as the kernels read them.
    private struct Source {
        let examples: Examples
        let base: UnsafeRawPointer
        let rows: UnsafePointer<Int64>

        var isBytes: Bool { examples.x.dtype == .u8 }

        init(examples: Examples, x: UnsafeRawBufferPointer, rows: UnsafePointer<Int64>) throws(DeMLError) {
            guard let base = x.baseAddress else { throw DeMLError(.missing, "there are no examples") }
            self.examples = examples
            self.base = base
            self.rows = rows
        }
    }
}

extension [Int64] {
    /// The elements in place, with the error type of `body` kept.
    func withPointer<Result>(
        _ body: (UnsafePointer<Int64>) throws(DeMLError) -> Result
    ) throws(DeMLError) -> Result {
        let outcome: Swift.Result<Result, DeMLError> = withUnsafeBufferPointer { buffer in
            do throws(DeMLError) {
                guard let base = buffer.baseAddress else { throw DeMLError(.missing, "there are no examples") }
                return .success(try body(base))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

extension Duration {
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
