import Jobs
import NeuralNetwork
import Tensors

/// How a job ended: its receipt, and the error where there is one.
public struct JobOutcome: Sendable {
    public var receipt: Receipt
    public var error: DeMLError?

    /// 0, or the code of sysexits.h that belongs to the error.
    public var exitCode: Int32 { error?.exitCode ?? 0 }
}

extension WorkerJob {
    /// Does the job on this machine and writes its receipt in every case: first one with the status `running`, at the end
    /// what became of it.
    ///
    /// A receipt that cannot be written is an error too: without it nobody learns how the job went. That is found before
    /// the work begins.
    /// - Parameters:
    ///   - instructionSet: of the kernels; nil: the fastest of this machine. The result is the same.
    ///   - progress: told what a watching person may see, as it happens.
    public func run(
        instructionSet: InstructionSet? = nil,
        progress: @escaping (ProgressLine) -> Void = { _ in }
    ) -> JobOutcome {
        var stage = Stage("write-report", file: report)
        do throws(DeMLError) {
            try Receipt(command: kind.name, outcome: .running).write(to: report)
            let work = FileWork(job: self, instructionSet: instructionSet, progress: progress)
            let receipt = Receipt(command: kind.name, outcome: try work.perform(&stage))
            stage = Stage("write-report", file: report)
            try receipt.write(to: report)
            return JobOutcome(receipt: receipt, error: nil)
        } catch {
            let receipt = Receipt(command: kind.name, stage: stage, error: error)
            // Where even this fails, the exit code and the line on stderr are all that is left.
            try? receipt.write(to: report)
            return JobOutcome(receipt: receipt, error: error)
        }
    }
}

/// A job done over files: reads the inputs, computes, writes the output. Keeps `stage` up to date, so that an error is
/// reported with the stage it happened in.
struct FileWork {
    let job: WorkerJob
    let instructionSet: InstructionSet?
    let progress: (ProgressLine) -> Void
    private let start = ContinuousClock.now

    init(
        job: WorkerJob, instructionSet: InstructionSet?,
        progress: @escaping (ProgressLine) -> Void
    ) {
        self.job = job
        self.instructionSet = instructionSet
        self.progress = progress
    }

    /// Beside the results, where there is room for what a job makes.
    private var expanded: String { (job.output ?? job.report) + ".shard.tmp" }
    private var threads: Int { job.limits.threads ?? availableProcessors() }

    func perform(_ stage: inout Stage) throws(DeMLError) -> Receipt.Outcome {
        stage = Stage("arguments")
        try job.validate()
        let weights = try job.input(.weights)
        switch job.kind {
        case .train(let options):
            let base = try loadWeights(weights, &stage) { (file) throws(DeMLError) in try Weights(file) }
            return .trained(try train(base, options, &stage))
        case .evaluate:
            let base = try loadWeights(weights, &stage) { (file) throws(DeMLError) in try WeightsFile(file) }
            return .evaluated(try evaluate(base, &stage))
        case .predict(let form):
            let base = try loadWeights(weights, &stage) { (file) throws(DeMLError) in try WeightsFile(file) }
            return .predicted(try predict(base, form, &stage))
        }
    }

    private func train(
        _ base: Loaded<Weights>, _ options: TrainingOptions, _ stage: inout Stage
    ) throws(DeMLError) -> Receipt.Training {
        let path = try job.outputPath()
        let model = base.value.model
        let shard = try loadExamples(try job.input(.shard), expanded: expanded, for: model, &stage)

        stage = job.state?.input.map { Stage("read-state", file: $0.path) } ?? Stage("train")
        let training = try LocalTraining(
            weights: base.value, examples: shard.value, options: options, threads: threads,
            instructionSet: instructionSet, state: job.state,
            inputs: ["weights_sha256": base.sha256, "shard_sha256": shard.sha256])
        stage = Stage("train")
        let limit = job.limits.maxSeconds
        var done = try training.perform(
            since: start, shouldStop: { limit.map { seconds(since: start) >= $0 } ?? false },
            onEpoch: { progress(.epoch($0)) })
        if done.receipt.stoppedEarly, !job.limits.allowsPartialWork {
            throw DeMLError(
                .timedOut, "after \(limit ?? 0) s only \(done.receipt.steps) steps were done, and the job wants all",
                hint: "give it more time, or permit partial work")
        }

        stage = Stage("write-delta", file: path)
        var delta = Delta(
            parameters: done.parameters, examples: shard.value.count, steps: done.receipt.steps,
            weightsSHA256: base.sha256, shardSHA256: shard.sha256, options: options)
        try delta.write(to: path, model: model)
        done.receipt.machine.seconds = seconds(since: start)
        done.receipt.digests = Receipt.Digests(weights: base.sha256, shard: shard.sha256, output: delta.sha256)
        if let sha256 = delta.sha256 { progress(.delta(sha256: sha256)) }
        // Not before: until the delta is there, the state is all there is.
        if let path = job.state?.output, !done.receipt.stoppedEarly { try? Files.remove(path) }
        return done.receipt
    }

    private func evaluate(_ base: Loaded<WeightsFile>, _ stage: inout Stage) throws(DeMLError) -> Receipt.Evaluation {
        let shard = try loadExamples(
            try job.input(.shard), expanded: expanded, for: base.value.model, &stage)
        stage = Stage("evaluate")
        let evaluateStart = ContinuousClock.now
        let evaluator = try Evaluator(
            model: base.value.model, threads: threads, examples: shard.value.count, instructionSet: instructionSet)
        let evaluation = try evaluator.evaluate(base.value, shard.value)
        return Receipt.Evaluation(
            examples: shard.value.count, loss: evaluation.loss, accuracy: evaluation.accuracy,
            confusion: evaluation.confusion, machine: machine(shard.value.count, since: evaluateStart),
            digests: Receipt.Digests(weights: base.sha256, shard: shard.sha256))
    }

    /// Labels are not needed. The predictions file has `predictions` F32 `[N, …output shape]` (probabilities where the loss
    /// is cross_entropy) and, for cross_entropy, `classes` I64 `[N]` or `[N, tokens]`, the most probable class; or the bare
    /// outputs alone.
    private func predict(
        _ base: Loaded<WeightsFile>, _ form: WorkerJob.PredictionForm, _ stage: inout Stage
    ) throws(DeMLError) -> Receipt.Prediction {
        let path = try job.outputPath()
        let model = base.value.model
        let input = try job.input(.shard)
        let shard = try loadExamples(input, expanded: expanded, for: model, needsTargets: false, &stage)
        stage = Stage("predict", file: input.path)
        let predictStart = ContinuousClock.now
        let predictions: Tensor
        do throws(DeMLError) {
            if case .text(let text) = form {
                predictions = try written(text, base.value, shard.value)
            } else {
                let evaluator = try Evaluator(
                    model: model, threads: threads, examples: shard.value.count,
                    instructionSet: instructionSet)
                predictions = try evaluator.predict(base.value, shard.value, bare: form == .outputs)
            }
        } catch {
            throw error.within(input.path)
        }
        let count = predictions.shape[0]
        var machine = machine(count, since: predictStart)

        stage = Stage("write-predictions", file: path)
        var file = Safetensors(
            tensors: [("predictions", predictions)],
            metadata: ["deml.weights_sha256": base.sha256, "deml.shard_sha256": shard.sha256])
        if model.loss == .crossEntropy, form == .answers {
            file["classes"] = Self.classes(try predictions.floats(), shape: predictions.shape.dropLast())
        }
        let digests = Receipt.Digests(
            weights: base.sha256, shard: shard.sha256, output: try file.write(to: path))
        machine.seconds = seconds(since: start)
        return Receipt.Prediction(examples: count, machine: machine, digests: digests)
    }

    /// The tokens that follow the shard's one row, `[1, tokens]`.
    private func written(
        _ text: TextContinuation, _ weights: WeightsFile, _ shard: any ExampleSource
    ) throws(DeMLError) -> Tensor {
        guard let examples = shard as? Examples else {
            throw DeMLError(.tooLarge, "a text to go on with is one row of tokens")
        }
        let limit = job.limits.maxSeconds
        let values = try text.values(
            weights, examples, threads: threads, instructionSet: instructionSet,
            shouldStop: { limit.map { seconds(since: start) >= $0 } ?? false })
        guard values.count == text.tokens else {
            throw DeMLError(
                .timedOut, "after \(limit ?? 0) s only \(values.count) of \(text.tokens) tokens were written",
                hint: "give it more time")
        }
        return values
    }

    private func machine(_ examples: Int, since computing: ContinuousClock.Instant) -> Receipt.Machine {
        Receipt.Machine(
            seconds: seconds(since: start), samplesPerSecond: rate(examples, seconds(since: computing)),
            threads: threads, isa: (instructionSet ?? .standard).rawValue)
    }

    /// Index of each row's first largest element.
    private static func classes(_ values: [Float], shape: ArraySlice<Int>) -> Tensor {
        let count = shape.reduce(1, *)
        let outputs = values.count / max(count, 1)
        let classes = (0..<count).map { row in
            let rest = values[row * outputs..<(row + 1) * outputs]
            let best = rest.max() ?? 0
            return Int64((rest.firstIndex(of: best) ?? rest.startIndex) - rest.startIndex)
        }
        return Tensor(shape: Array(shape), int64s: classes)
    }
}
