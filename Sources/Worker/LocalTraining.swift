import Jobs
import NeuralNetwork
import Tensors

/// A training in memory, on this machine: what a worker does between reading and writing, and all that a simulated one
/// does.
public struct LocalTraining {
    private let weights: Weights
    private let examples: any ExampleSource
    private let trainer: Trainer
    private let threads: Int
    private let state: WorkerJob.State?
    private let inputs: [String: String]

    /// - Parameters:
    ///   - state: where the training goes on from, and what it keeps up to date.
    ///   - inputs: digests of what the training is of; a state of others is none of this training.
    /// - Throws: what `Trainer` throws, and what reading the state's input throws.
    public init(
        weights: Weights, examples: any ExampleSource, options: TrainingOptions, threads: Int,
        instructionSet: InstructionSet? = nil, state: WorkerJob.State? = nil, inputs: [String: String] = [:]
    ) throws(DeMLError) {
        self.state = state
        self.inputs = inputs
        self.weights = weights
        self.examples = examples
        self.threads = threads
        func trainer(resuming found: TrainerState?) throws(DeMLError) -> Trainer {
            if let found, found.inputs != inputs {
                throw DeMLError(.mismatch, "the state is of a training with other weights or another shard")
            }
            return try Trainer(
                weights: weights, options: options, resuming: found, threads: threads, instructionSet: instructionSet)
        }
        // Its own, if it was at work before. Else it is as if nothing were there.
        if let path = state?.output, let found = try? TrainerState(contentsOf: path),
            let resumed = try? trainer(resuming: found)
        {
            self.trainer = resumed
        } else if let input = state?.input {
            let found = try input.state()
            do throws(DeMLError) {
                self.trainer = try trainer(resuming: found)
            } catch {
                throw error.within(input.path)
            }
        } else {
            self.trainer = try trainer(resuming: nil)
        }
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
        let epochs = trainer.options.epochs(examples: examples.count)
        var finished = trainer.epochs
        var written = ContinuousClock.now
        let saving = state.flatMap { state in state.output.map { (path: $0, interval: state.interval) } }
        var isOver = false
        var result: TrainingResult
        repeat {
            result = try trainer.train(
                on: examples,
                shouldStop: {
                    isOver = shouldStop()
                    return isOver || saving.map { seconds(since: written) >= $0.interval } ?? false
                },
                onEpoch: { epoch in
                    finished += 1
                    onEpoch(
                        EpochProgress(
                            epoch: finished, epochs: epochs, loss: epoch.loss, accuracy: epoch.accuracy,
                            samplesPerSecond: rate(epoch.examples, epoch.seconds)))
                })
            if let saving, !result.isComplete {
                var now = trainer.state
                now.inputs = inputs
                try now.write(to: saving.path)
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
}
