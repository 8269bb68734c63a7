import ArgumentParser

/// Options that stand for settings of a run. Values are texts here: the configuration reads them together with the YAML
/// file, so that everything that is wrong is reported at once and in the same words.
protocol SettingOptions: ParsableArguments {
    /// The settings given on the command line: key of the YAML file, and its text.
    var given: [(key: String, text: String?)] { get }
}

struct LearningOptions: SettingOptions {
    @Option(
        help: ArgumentHelp(
            "A dataset: a table, a folder of IDX files, .npz, .npy, safetensors, or 'mnist'.", valueName: "path"))
    var data: String?
    @Option(
        help: ArgumentHelp(
            "A model description (YAML, JSON), a weights file, .onnx, .pt2, .keras or .h5. (default: one is chosen for the "
                + "data)",
            valueName: "file")
    )
    var model: String?
    @Option(
        help: ArgumentHelp("Weights to start from instead of fresh ones: safetensors, .pt, .pth.", valueName: "file"))
    var initialWeights: String?
    @Option(
        help: ArgumentHelp("A weights file or a run to go on from: its model and its weights.", valueName: "model"))
    var continueFrom: String?
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction: String?
    @Option(
        help: ArgumentHelp(
            "Part of the training examples to choose the best model by. (default: none; then by the test set)",
            valueName: "share"))
    var validationFraction: String?
    @Option(
        help: ArgumentHelp(
            "How examples go to workers: iid, dirichlet:0.3, pathological:2 (classes a worker), quantity:0.5, "
                + "by_column:NAME (a client for each value), by_file.",
            valueName: "rule"))
    var partition: String?
    @Option(help: ArgumentHelp("Seed of everything random: same seed, same bytes. (default: 0)", valueName: "n"))
    var seed: String?

    var given: [(key: String, text: String?)] {
        [
            ("data", data), ("model", model), ("initial_weights", initialWeights),
            ("continue_from", continueFrom), ("test_fraction", testFraction),
            ("validation_fraction", validationFraction), ("partition", partition), ("seed", seed),
        ]
    }
}

extension TableOptions: SettingOptions {}

struct RoundOptions: SettingOptions {
    @Option(help: ArgumentHelp("Number of shards, one a worker. (default: 3)", valueName: "n"))
    var workers: String?
    @Option(help: ArgumentHelp("Rounds of training and averaging. (default: 3)", valueName: "n"))
    var rounds: String?
    @Option(help: ArgumentHelp("Share of the workers that train in a round. (default: 1.0)", valueName: "share"))
    var fraction: String?
    @Option(help: ArgumentHelp("A round closes with at least so many answers. (default: all)", valueName: "n"))
    var minWorkers: String?
    @Option(help: ArgumentHelp("How often a failed training is given to another worker. (default: 2)", valueName: "n"))
    var retries: String?
    @Option(help: ArgumentHelp("A worker that needs longer is killed. (default: 3600)", valueName: "seconds"))
    var timeout: String?
    @Option(
        help: ArgumentHelp(
            "A worker so many times slower than the median gets company; 0: never. (default: 4)", valueName: "factor"))
    var stragglerFactor: String?
    @Option(
        help: ArgumentHelp(
            "Then a round closes as soon as it has its least number of answers.", valueName: "seconds"))
    var roundTimeout: String?
    @Option(
        help: ArgumentHelp(
            "Stop when the accuracy (validation, else test) has reached this, 0.97 say.", valueName: "share"))
    var targetAccuracy: String?
    @Option(
        name: .customLong("repeat"),
        help: ArgumentHelp(
            "Do it so often, each time with the next seed; mean and deviation at the end.", valueName: "n"))
    var repetitions: String?
    @Option(help: ArgumentHelp("Stop after so many rounds without a better model.", valueName: "rounds"))
    var patience: String?

    var given: [(key: String, text: String?)] {
        [
            ("workers", workers), ("rounds", rounds), ("fraction", fraction), ("min_workers", minWorkers),
            ("retries", retries), ("timeout", timeout), ("straggler_factor", stragglerFactor),
            ("round_timeout", roundTimeout), ("target_accuracy", targetAccuracy),
            ("repeat", repetitions), ("patience", patience),
        ]
    }
}

struct LocalTrainingOptions: SettingOptions {
    @Option(help: ArgumentHelp("Passes over its shard that a worker makes in a round. (default: 5)", valueName: "n"))
    var localEpochs: String?
    @Option(
        help: ArgumentHelp("Optimiser steps that a worker makes in a round, instead of local epochs.", valueName: "n"))
    var localSteps: String?
    @Option(help: ArgumentHelp("Examples a step. (default: 64)", valueName: "n"))
    var batchSize: String?
    @Option(help: ArgumentHelp("sgd, adam, adamw, rmsprop or lion. (default: adam)", valueName: "name"))
    var optimizer: String?
    @Option(help: ArgumentHelp("Step size. (default: 0.001)", valueName: "x"))
    var learningRate: String?
    @Option(help: ArgumentHelp("Factor on the learning rate from round to round. (default: 1.0)", valueName: "x"))
    var learningRateDecay: String?
    @Option(help: ArgumentHelp("Momentum, for sgd and rmsprop. (default: 0)", valueName: "x"))
    var momentum: String?
    @Flag(help: "Nesterov's momentum, for sgd.")
    var nesterov = false
    @Option(help: ArgumentHelp("First decay rate of adam, adamw and lion. (default: 0.9)", valueName: "x"))
    var beta1: String?
    @Option(
        help: ArgumentHelp("Second decay rate of adam, adamw and lion. (default: 0.999, lion 0.99)", valueName: "x"))
    var beta2: String?
    @Option(help: ArgumentHelp("What adam, adamw and rmsprop add below the fraction. (default: 1e-8)", valueName: "x"))
    var epsilon: String?
    @Option(help: ArgumentHelp("Decay rate of rmsprop. (default: 0.99)", valueName: "x"))
    var alpha: String?
    @Flag(help: "Divide by the deviation of the gradient, for rmsprop without momentum.")
    var centered = false
    @Option(help: ArgumentHelp("Weight decay. (default: 0, adamw 0.01)", valueName: "x"))
    var weightDecay: String?
    @Option(help: ArgumentHelp("Label smoothing of the loss. (default: 0)", valueName: "x"))
    var labelSmoothing: String?
    @Option(
        help: ArgumentHelp(
            "How much the examples of each class count: balanced, or '[1, 1, 2.5]'.", valueName: "weights"))
    var classWeights: String?
    @Option(
        help: ArgumentHelp(
            "Change inputs at random: '{shift: 2, flip: true, noise: 0.05}' (pixels; mirrored; standard deviation).",
            valueName: "changes"))
    var augmentation: String?
    @Option(help: ArgumentHelp("Longer gradients are scaled down to this norm.", valueName: "norm"))
    var clipGradNorm: String?
    @Option(help: ArgumentHelp("Batches whose gradients make one step. (default: 1)", valueName: "n"))
    var accumulateSteps: String?
    @Option(
        help: ArgumentHelp(
            "FedProx: how strongly a worker is held near the round's weights. (default: 0)", valueName: "mu"))
    var proximalMu: String?
    @Option(
        help: ArgumentHelp(
            "The learning rate within a worker's training: '{type: step, step_size: 100}', "
                + "'{type: cosine, t_max: 1000, warmup_steps: 50}'.", valueName: "schedule"))
    var schedule: String?
    @Option(help: ArgumentHelp("The same from round to round; its steps are rounds.", valueName: "schedule"))
    var roundSchedule: String?
    @Flag(help: "Take the examples in order.")
    var noShuffle = false
    @Option(help: ArgumentHelp("A worker delivers what it has after so long.", valueName: "seconds"))
    var maxSeconds: String?

    var given: [(key: String, text: String?)] {
        [
            ("local_epochs", localEpochs), ("local_steps", localSteps), ("batch_size", batchSize),
            ("optimizer", optimizer),
            ("learning_rate", learningRate), ("learning_rate_decay", learningRateDecay), ("momentum", momentum),
            ("nesterov", nesterov ? "true" : nil), ("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon),
            ("alpha", alpha), ("centered", centered ? "true" : nil),
            ("weight_decay", weightDecay), ("label_smoothing", labelSmoothing),
            ("class_weights", classWeights), ("augmentation", augmentation), ("clip_grad_norm", clipGradNorm),
            ("accumulate_steps", accumulateSteps), ("proximal_mu", proximalMu), ("schedule", schedule),
            ("round_schedule", roundSchedule),
            ("shuffle", noShuffle ? "false" : nil), ("max_seconds", maxSeconds),
        ]
    }
}

struct AveragingOptions: SettingOptions {
    @Option(help: ArgumentHelp("Factor on the averaged delta. (default: 1.0)", valueName: "x"))
    var serverLearningRate: String?
    @Option(help: ArgumentHelp("Momentum of the averaged deltas over rounds. (default: 0)", valueName: "x"))
    var serverMomentum: String?
    @Flag(help: "Nesterov's momentum at the server.")
    var serverNesterov = false
    @Option(help: ArgumentHelp("Longer deltas are scaled down to this norm.", valueName: "norm"))
    var clipNorm: String?
    @Option(help: ArgumentHelp("Longer deltas are refused.", valueName: "norm"))
    var maxNorm: String?
    @Flag(help: "FedBN: what batch_norm has learned and counted stays with each client.")
    var localBatchNorm = false

    var given: [(key: String, text: String?)] {
        [
            ("server_learning_rate", serverLearningRate), ("server_momentum", serverMomentum),
            ("server_nesterov", serverNesterov ? "true" : nil), ("clip_norm", clipNorm), ("max_norm", maxNorm),
            ("local_batch_norm", localBatchNorm ? "true" : nil),
        ]
    }
}

struct VerificationOptions: SettingOptions {
    @Option(
        help: ArgumentHelp(
            "Answers that are recomputed here: auto (as many as there is time for), off, all, or a share of them. "
                + "(default: auto on golem, else off)", valueName: "which"))
    var audit: String?

    var given: [(key: String, text: String?)] { [("audit", audit)] }
}

struct MachineOptions: SettingOptions {
    @Option(
        name: .customLong("on"),
        help: ArgumentHelp(
            "Where to train: local (processes here), simulated (threads here), golem (rented). (default: local)",
            valueName: "fleet"))
    var fleet: String?
    @Option(help: ArgumentHelp("Workers at work at the same time.", valueName: "n"))
    var parallel: String?
    @Option(help: ArgumentHelp("Threads a worker.", valueName: "n"))
    var threads: String?
    @Option(
        help: ArgumentHelp("The program deml-worker, for the local fleet. (default: beside deml)", valueName: "path"))
    var worker: String?

    var given: [(key: String, text: String?)] {
        [("fleet", fleet), ("parallel", parallel), ("threads", threads)]
    }
}

struct ResultOptions: SettingOptions {
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("Folder of the run. (default: a new one under runs/)", valueName: "folder"))
    var output: String?
    @Flag(help: "Leave out the training in one place and on one shard to compare with.")
    var noComparison = false
    @Flag(help: "Keep every delta in the run folder.")
    var keepDeltas = false
    @Flag(help: "Write no curves for TensorBoard.")
    var noTensorboard = false

    var given: [(key: String, text: String?)] {
        [
            ("output", output), ("comparison", noComparison ? "false" : nil),
            ("keep_deltas", keepDeltas ? "true" : nil), ("tensorboard", noTensorboard ? "false" : nil),
        ]
    }
}
