import ArgumentParser
import Jobs
import NeuralNetwork
import Tensors
import Worker

/// What most commands take.
struct MachineOptions: ParsableArguments {
    @Option(help: "Threads to use; the result does not depend on them. (default: as many as there are processors)")
    var threads: Int?

    @Option(help: ArgumentHelp("Instruction set to use, for tests.", visibility: .hidden))
    var isa: InstructionSet?

    var threadCount: Int { threads ?? availableProcessors() }

    func validate() throws {
        if let threads, !WorkerJob.threads.contains(threads) {
            throw ValidationError("--threads \(threads) is not between 1 and 1024")
        }
        if let isa, !isa.isAvailable {
            throw ValidationError("--isa \(isa.rawValue): this machine has no such instructions")
        }
    }
}

/// Where a training that is killed has left how far it was.
struct StateOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Write how far the training is to this file now and then, and go on from it if it is there and of this job.",
            valueName: "file"))
    var state: String?
    @Option(help: ArgumentHelp("How often.", valueName: "seconds"))
    var stateEvery = WorkerJob.State.standardInterval

    var value: WorkerJob.State? { state.map { WorkerJob.State(output: $0, interval: stateEvery) } }

    func validate() throws {
        guard WorkerJob.State.intervals.contains(stateEvery) else {
            throw ValidationError("--state-every \(stateEvery) is not between 0 and 1e9")
        }
    }
}

extension InstructionSet: ExpressibleByArgument {}

struct RunJob: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Do a job: what the other commands say by arguments, as one JSON value.",
        discussion: """
            {"kind": "train", "options": {"epochs": 1, "batch_size": 64, …},
             "inputs": {"weights": {"file": "W", "sha256": "…"}, "shard": {"file": "S", "sha256": "…"}},
             "output": "D", "report": "R", "limits": {"threads": 2, "max_seconds": 60, "partial": true},
             "state": {"output": "T", "every_seconds": 60, "input": {"file": "…", "sha256": "…"}}}
            """)

    @Argument(help: "A file with the job, or the job itself (a text that begins with '{').")
    var job: String
    @Option(help: ArgumentHelp("Instruction set to use, for tests.", visibility: .hidden))
    var isa: InstructionSet?
    @OptionGroup var state: StateOptions

    func run() throws {
        var job = try job.hasPrefix("{") ? WorkerJob(json: job.utf8) : WorkerJob(contentsOf: job)
        if let state = state.value {
            guard job.state == nil else {
                throw DeMLError(.usage, "the job says itself where its state is", hint: "leave out --state")
            }
            job.state = state
        }
        try job.runAsCommand(isa)
    }
}

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train on a shard and write the delta: local minus received weights.")

    @Option(help: "Weights file; it says itself what model it is of.")
    var weights: String
    @Option(help: "Shard file with tensors x and y.")
    var shard: String
    @Option(help: "Where the delta goes; compressed when the name ends in .gz.")
    var delta: String
    @Option(help: "Where the report goes, JSON.")
    var report: String

    @Option(help: "Passes over the shard.")
    var epochs = 1
    @Option(help: "Optimiser steps, in as many passes as they need, instead of --epochs.")
    var steps: Int?
    @Option(help: "Examples a step.")
    var batchSize = 64
    @Option(help: "sgd, adam, adamw, rmsprop or lion.")
    var optimizer = "sgd"
    @Option(help: "Step size.")
    var learningRate = 0.01
    @Option(help: "Momentum of sgd and rmsprop. (default: 0)")
    var momentum: Double?
    @Flag(help: "Nesterov's momentum.")
    var nesterov = false
    @Option(name: .customLong("beta1"), help: "Decay of adam's first moment. (default: 0.9)")
    var firstBeta: Double?
    @Option(name: .customLong("beta2"), help: "Decay of adam's second moment. (default: 0.999; lion: 0.99)")
    var secondBeta: Double?
    @Option(help: "Epsilon of adam, adamw and rmsprop. (default: 1e-08)")
    var epsilon: Double?
    @Option(help: "Decay of rmsprop's average. (default: 0.99)")
    var alpha: Double?
    @Flag(help: "Divide by the deviation of the gradient, of rmsprop.")
    var centered = false
    @Option(help: "Weight decay. (default: 0; adamw: 0.01)")
    var weightDecay: Double?
    @Option(help: "Label smoothing of cross_entropy.")
    var labelSmoothing = 0.0
    @Option(help: "Seed of shuffling and dropout.")
    var seed: UInt64 = 0
    @Flag(name: .customLong("no-shuffle"), help: "Take the examples in order, so that another program can follow.")
    var keepsOrder = false
    @Option(help: "Stop after the batch in which this time ends, and deliver what was done.")
    var maxSeconds: Double?
    @Option(help: "Scale the gradient of a step down to this norm where its own is larger. (default: never)")
    var clipGradNorm: Double?
    @Option(help: "Batches whose gradients make one step.")
    var accumulateSteps = 1
    @Option(help: "FedProx's mu: what pulls the weights back to those received.")
    var proximalMu = 0.0
    @Option(
        help: ArgumentHelp(
            #"How the learning rate goes with the steps, as JSON: {"type": "cosine", "t_max": 1000, "warmup_steps": 100}."#,
            valueName: "json"))
    var schedule: String?
    @Option(help: ArgumentHelp("How much the examples of each class count, as JSON: [1, 1, 2.5].", valueName: "json"))
    var classWeights: String?
    @Option(
        help: ArgumentHelp(
            #"What is done to the inputs at random, as JSON: {"shift": 2, "flip": true, "noise": 0.05}."#,
            valueName: "json"))
    var augmentation: String?
    @OptionGroup var state: StateOptions
    @OptionGroup var machine: MachineOptions

    func validate() throws {
        if let maxSeconds, !(maxSeconds > 0 && maxSeconds <= Receipt.maximumSeconds) {
            throw ValidationError("--max-seconds \(maxSeconds) is not above 0 and at most \(Receipt.maximumSeconds)")
        }
        do {
            _ = try options()
        } catch {
            throw ValidationError(error.summary)
        }
    }

    func run() throws {
        let job = WorkerJob(
            .train(try options()), inputs: [.weights: .init(path: weights), .shard: .init(path: shard)], output: delta,
            report: report,
            limits: .init(threads: machine.threads, maxSeconds: maxSeconds, allowsPartialWork: maxSeconds != nil),
            state: state.value)
        try job.runAsCommand(machine.isa)
    }

    private func options() throws(DeMLError) -> TrainingOptions {
        let hasBetas = firstBeta != nil || secondBeta != nil
        // Read as a job has them.
        let given = [("class_weights", classWeights), ("augmentation", augmentation)]
            .compactMap { key, json in json.map { "\"\(key)\":\($0)" } }
        let read = try TrainingOptions(json: "{\(given.joined(separator: ","))}")
        let options = TrainingOptions(
            epochs: epochs, batchSize: batchSize,
            optimizer: try OptimizerDescription(
                type: optimizer, learningRate: learningRate, momentum: momentum, nesterov: nesterov ? true : nil,
                betas: hasBetas ? (firstBeta ?? 0.9, secondBeta ?? (optimizer == "lion" ? 0.99 : 0.999)) : nil,
                epsilon: epsilon, weightDecay: weightDecay, alpha: alpha, centered: centered ? true : nil),
            seed: seed, shuffle: !keepsOrder, labelSmoothing: labelSmoothing,
            schedule: try schedule.map { (json) throws(DeMLError) in try LearningRateSchedule(json: json) }
                ?? .constant,
            clipGradNorm: clipGradNorm, accumulateSteps: accumulateSteps, proximalMu: proximalMu,
            classWeights: read.classWeights, augmentation: read.augmentation, steps: steps)
        try options.validate()
        return options
    }
}

struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Loss and accuracy of a model on a shard.")

    @Option(help: "Weights file.")
    var weights: String
    @Option(help: "Shard file with tensors x and y.")
    var shard: String
    @Option(help: "Where the report goes, JSON.")
    var report: String
    @OptionGroup var machine: MachineOptions

    func run() throws {
        let job = WorkerJob(
            .evaluate, inputs: [.weights: .init(path: weights), .shard: .init(path: shard)], report: report,
            limits: .init(threads: machine.threads))
        try job.runAsCommand(machine.isa)
    }
}

struct Predict: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What a model says to the inputs of a shard.")

    @Option(help: "Weights file.")
    var weights: String
    @Option(help: "Shard file with a tensor x.")
    var shard: String
    @Option(help: "Where the predictions go; compressed when the name ends in .gz.")
    var predictions: String
    @Option(help: "Where the report goes, JSON.")
    var report: String
    @OptionGroup var machine: MachineOptions

    func run() throws {
        let job = WorkerJob(
            .predict(), inputs: [.weights: .init(path: weights), .shard: .init(path: shard)], output: predictions,
            report: report, limits: .init(threads: machine.threads))
        try job.runAsCommand(machine.isa)
    }
}

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What is in a weights, shard or delta file.")

    @Argument(help: "A safetensors file, compressed or not.")
    var file: String
    @Flag(help: "Tell every tensor, however many there are.")
    var all = false
    @Flag(help: "As JSON, complete.")
    var json = false

    func run() throws {
        let inspection = try Inspection(contentsOf: file)
        say(json ? canonicalJSON(inspection) : inspection.text(isComplete: all))
    }
}

struct BenchmarkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "benchmark", abstract: "How fast this machine is, as JSON.")

    @Option(help: "Seconds for each measurement.")
    var seconds = 0.3
    @OptionGroup var machine: MachineOptions

    func validate() throws {
        guard seconds > 0, seconds <= 60 else { throw ValidationError("--seconds \(seconds) is not between 0 and 60") }
    }

    func run() throws {
        let benchmark = try Benchmark(
            threads: machine.threadCount, instructionSet: machine.isa, secondsEach: seconds)
        say(canonicalJSON(benchmark))
    }
}
