import Jobs
import NeuralNetwork
import Tensors

/// A file in which a training says now and then how far it is.
public struct StateFile: Sendable, Equatable {
    public var path: String
    /// Seconds from one writing to the next.
    public var interval: Double

    /// Seconds that make sense.
    public static let intervals = 0.0...1e9

    public init(path: String, interval: Double) {
        self.path = path
        self.interval = interval
    }
}

/// A training in memory, on this machine: what a worker does between reading and writing, and all that a simulated one
/// does.
public struct LocalTraining {
    private let weights: Weights
    private let examples: Examples
    private let options: TrainingOptions
    private let threads: Int
    private let instructionSet: InstructionSet?
    private let state: StateFile?
    private let inputs: [String: String]

    /// - Parameters:
    ///   - state: where the training goes on from, if it is of the same weights, options and `inputs`, and which it keeps
    ///     up to date. What is in the file otherwise, damaged or of another training, is replaced.
    ///   - inputs: digests of what the training is of.
    public init(
        weights: Weights, examples: Examples, options: TrainingOptions, threads: Int,
        instructionSet: InstructionSet? = nil, state: StateFile? = nil, inputs: [String: String] = [:]
    ) {
        self.state = state
        self.inputs = inputs
        self.weights = weights
        self.examples = examples
        self.options = options
        self.threads = threads
        self.instructionSet = instructionSet
    }

    /// What came of it.
    public struct Done: Sendable {
        /// Local minus received weights, in the order of the model's parameters.
        public var parameters: [Float]
        /// Without digests: there are no files yet.
        public var receipt: Receipt.Training
    }

    /// Trains.
    /// - Parameters:
    ///   - start: when the job began, for its seconds.
    ///   - shouldStop: asked after each batch; training ends where it says true.
    /// - Throws: what `Trainer` throws, `notFinite` above all.
    public func perform(
        since start: ContinuousClock.Instant = .now, shouldStop: () -> Bool = { false },
        onEpoch: (EpochProgress) -> Void = { _ in }
    ) throws(DeMLError) -> Done {
        let trainer = try trainer()
        var finished = trainer.epochs
        var written = ContinuousClock.now
        var isOver = false
        var result: TrainingResult
        repeat {
            result = try trainer.train(
                on: examples,
                shouldStop: {
                    isOver = shouldStop()
                    return isOver || state.map { seconds(since: written) >= $0.interval } ?? false
                },
                onEpoch: { epoch in
                    finished += 1
                    onEpoch(
                        EpochProgress(
                            epoch: finished, epochs: options.epochs, loss: epoch.loss, accuracy: epoch.accuracy,
                            samplesPerSecond: rate(epoch.examples, epoch.seconds)))
                })
            if let state, !result.isComplete {
                var now = trainer.state
                now.inputs = inputs
                try now.write(to: state.path)
                written = .now
            }
        } while !result.isComplete && !isOver
        let parameters = trainer.weights.difference(from: weights)
        guard Tensor(shape: [parameters.count], floats: parameters).firstNonFinite() == nil else {
            throw DeMLError(
                .notFinite, "training diverged: after \(result.steps) steps the weights are no numbers any more",
                hint: "try a smaller learning rate")
        }
        return Done(
            parameters: parameters,
            receipt: Receipt.Training(
                examples: examples.count, steps: result.steps,
                epochs: result.epochs.map { Receipt.Epoch(loss: $0.loss, accuracy: $0.accuracy, seconds: $0.seconds) },
                stoppedEarly: !result.isComplete,
                machine: Receipt.Machine(
                    seconds: seconds(since: start), samplesPerSecond: rate(result.samples, result.seconds),
                    threads: threads, isa: trainer.instructionSet.rawValue)))
    }

    /// One that begins, or that goes on where the state file says.
    private func trainer() throws(DeMLError) -> Trainer {
        if let state, let found = try? TrainerState(contentsOf: state.path), found.inputs == inputs,
            let trainer = try? Trainer(
                weights: weights, options: options, resuming: found, threads: threads, instructionSet: instructionSet)
        {
            return trainer
        }
        return try Trainer(weights: weights, options: options, threads: threads, instructionSet: instructionSet)
    }
}
