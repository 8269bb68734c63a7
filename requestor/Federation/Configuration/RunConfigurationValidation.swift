import Datasets
import NeuralNetwork
import Tensors

extension RunConfiguration {
    /// Everything that is wrong with the values, in the order of the settings; empty when a run can start.
    public func problems() -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        func require(_ condition: Bool, _ key: String, _ message: @autoclosure () -> String) {
            if !condition { problems.append(ConfigurationProblem(key, message())) }
        }
        func positive(_ value: Double?, _ key: String) {
            if let value { require(value > 0 && value.isFinite, key, "is to be above 0, not \(value)") }
        }
        func notNegative(_ value: Double, _ key: String) {
            require(value >= 0 && value.isFinite, key, "is to be 0 or more, not \(value)")
        }
        func share(_ value: Double, _ key: String) {
            require(value >= 0 && value < 1, key, "is to be from 0 to below 1, not \(value)")
        }

        require(!data.isEmpty, "data", "is missing: name a dataset, for example 'mnist' or a folder")
        require(
            testFraction > 0 && testFraction < 1, "test_fraction", "is to be above 0 and below 1, not \(testFraction)")
        require(model != nil, "model", "is missing: give a model description or the path of one")
        do throws(DeMLError) { _ = try Partition(parsing: partition) } catch {
            problems.append(ConfigurationProblem("partition", error.summary))
        }
        require(workers >= 1, "workers", "at least 1 is needed, not \(workers)")
        require(rounds >= 1, "rounds", "at least 1 is needed, not \(rounds)")
        require(fraction > 0 && fraction <= 1, "fraction", "is to be above 0 and at most 1, not \(fraction)")
        if let minWorkers, workers >= 1, fraction > 0, fraction <= 1 {
            require(
                minWorkers >= 1 && minWorkers <= clientsPerRound, "min_workers",
                "is to be from 1 to the \(clientsPerRound) that train in a round, not \(minWorkers)")
        }
        require(retries >= 0, "retries", "is to be 0 or more, not \(retries)")
        positive(timeout, "timeout")
        require(
            stragglerFactor == 0 || (stragglerFactor > 1 && stragglerFactor.isFinite), "straggler_factor",
            "is to be above 1, or 0 for never, not \(stragglerFactor)")
        positive(roundTimeout, "round_timeout")
        if let targetAccuracy {
            require(
                targetAccuracy > 0 && targetAccuracy <= 1, "target_accuracy",
                "is to be above 0 and at most 1, not \(targetAccuracy)")
        }
        require(localEpochs >= 1, "local_epochs", "at least 1 is needed, not \(localEpochs)")
        require(batchSize >= 1, "batch_size", "at least 1 is needed, not \(batchSize)")
        positive(learningRate, "learning_rate")
        require(
            learningRateDecay > 0 && learningRateDecay <= 1, "learning_rate_decay",
            "is to be above 0 and at most 1, not \(learningRateDecay)")
        share(momentum, "momentum")
        if optimizer != .sgd {
            require(momentum == 0, "momentum", "belongs to the optimizer sgd, not to \(optimizer.rawValue)")
            require(!nesterov, "nesterov", "belongs to the optimizer sgd, not to \(optimizer.rawValue)")
        } else {
            require(!nesterov || momentum > 0, "nesterov", "needs a momentum above 0")
        }
        notNegative(weightDecay ?? 0, "weight_decay")
        for (key, value) in [("beta1", beta1), ("beta2", beta2)] {
            guard let value else { continue }
            if optimizer == .sgd {
                problems.append(ConfigurationProblem(key, "belongs to the optimizers adam and adamw, not to sgd"))
            } else {
                share(value, key)
            }
        }
        if let epsilon {
            require(optimizer != .sgd, "epsilon", "belongs to the optimizers adam and adamw, not to sgd")
            notNegative(epsilon, "epsilon")
        }
        share(labelSmoothing, "label_smoothing")
        positive(maxSeconds, "max_seconds")
        positive(serverLearningRate, "server_learning_rate")
        share(serverMomentum, "server_momentum")
        require(!serverNesterov || serverMomentum > 0, "server_nesterov", "needs a server_momentum above 0")
        positive(clipNorm, "clip_norm")
        positive(maxNorm, "max_norm")
        if let parallel { require(parallel >= 1, "parallel", "at least 1 is needed, not \(parallel)") }
        if let threads { require(threads >= 1, "threads", "at least 1 is needed, not \(threads)") }
        return problems
    }
}

extension RunConfiguration {
    /// How a client trains in a round.
    public func trainingOptions(round: Int, seed: UInt64) throws(DeMLError) -> TrainingOptions {
        var rate = learningRate
        // Multiplied step by step, as any reader would do it by hand; `pow` may differ from machine to machine.
        if learningRateDecay != 1 {
            for _ in 1..<max(1, round) { rate *= learningRateDecay }
        }
        let betas: (Double, Double)? = beta1 == nil && beta2 == nil ? nil : (beta1 ?? 0.9, beta2 ?? 0.999)
        return TrainingOptions(
            epochs: localEpochs, batchSize: batchSize,
            optimizer: try OptimizerDescription(
                type: optimizer.rawValue, learningRate: rate, momentum: optimizer == .sgd ? momentum : nil,
                nesterov: optimizer == .sgd ? nesterov : nil, betas: betas, epsilon: epsilon, weightDecay: weightDecay),
            seed: seed, shuffle: shuffle, labelSmoothing: labelSmoothing)
    }
}
