import Federation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Testing

@Suite("Settings of a run")
struct ConfigurationTests {
    private func decode(_ json: String) throws -> RunConfigurationFile {
        try JSONDecoder().decode(RunConfigurationFile.self, from: Data(json.utf8))
    }

    @Test("defaults are the ones of the command")
    func defaults() throws {
        let configuration = try decode("{}").configuration
        #expect(configuration == RunConfiguration())
        #expect(
            configuration.federation.workers == 3 && configuration.federation.rounds == 3
                && configuration.training.localEpochs == 5)
        #expect(
            configuration.training.batchSize == 64 && configuration.training.optimizer == .adam
                && configuration.training.learningRate == 0.001)
        #expect(
            configuration.federation.partition == "iid" && configuration.federation.seed == 0
                && configuration.federation.fraction == 1)
    }

    @Test("every setting survives writing and reading")
    func roundTrip() throws {
        var configuration = try TinyProblem.configuration()
        configuration.federation.seed = .max
        configuration.federation.minWorkers = 2
        configuration.averaging.clipNorm = 3.25
        configuration.training.optimizer = .adamw
        configuration.training.beta1 = 0.8
        configuration.golem.budget = 5
        configuration.golem.subnet = "public"
        configuration.output.folder = "runs/a"
        let data = try JSONEncoder().encode(configuration)
        #expect(try JSONDecoder().decode(RunConfiguration.self, from: data) == configuration)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(object["local_epochs"] as? Int == 2)
    }

    @Test("null means nothing where nothing is a value, and the default elsewhere")
    func null() throws {
        let file = try decode(#"{"min_workers": null, "learning_rate": null}"#)
        #expect(file.problems.isEmpty)
        #expect(file.configuration.federation.minWorkers == nil && file.configuration.training.learningRate == 0.001)
    }

    @Test("Golem's options may be texts, numbers and booleans")
    func golemOptions() throws {
        let file = try decode(
            #"{"golem": {"budget": 5, "subnet": 7, "max_price_per_hour": "0.25", "image": null, "driver": true}}"#)
        #expect(file.problems.isEmpty)
        var expected = GolemOptionSettings()
        expected.budget = 5
        expected.subnet = "7"
        expected.maxPricePerHour = 0.25
        expected.driver = "true"
        #expect(file.configuration.golem == expected)
        let wrong = try decode(#"{"golem": {"budget": "much", "min_cores": 1.5, "startup": 1, "min_memory": []}}"#)
        #expect(wrong.problems.map(\.key) == ["golem.startup", "golem.budget", "golem.min_memory", "golem.min_cores"])
        #expect(try decode(#"{"golem": 3}"#).problems.map(\.key) == ["golem"])
        // As the configuration of an older run has them: texts all.
        let older = #"{"golem": {"budget": "5", "image": "/a.gvmi", "start_timeout": "60"}, "rounds": 2}"#
        let configuration = try JSONDecoder().decode(RunConfiguration.self, from: Data(older.utf8))
        #expect(configuration.golem.budget == 5 && configuration.golem.startTimeout == 60)
    }

    @Test("unknown keys and wrong types are reported all at once, with what may have been meant")
    func decodingProblems() throws {
        let file = try decode(
            #"{"learning_rat": 0.1, "colour": 1, "rounds": "three", "optimizer": "adagrad", "fleet": 3, "workers": 5}"#)
        #expect(
            file.problems == [
                ConfigurationProblem("colour", "unknown setting"),
                ConfigurationProblem("learning_rat", "unknown setting; did you mean 'learning_rate'?"),
                ConfigurationProblem("rounds", "is to be a whole number"),
                ConfigurationProblem("optimizer", "is to be sgd, adam, adamw, rmsprop or lion"),
                ConfigurationProblem("fleet", "is to be local, simulated or golem"),
            ])
        #expect(file.configuration.federation.workers == 5)
    }

    @Test("a model that cannot be is a problem among others")
    func modelProblem() throws {
        let file = try decode(
            #"{"model": {"input": {"shape": [4]}, "layers": [{"type": "lineer"}], "loss": "cross_entropy"}, "round": 1}"#
        )
        #expect(file.problems.map(\.key) == ["round", "model"])
        #expect(file.problems.last?.message.contains("lineer") == true)
    }

    @Test("wrong values are reported all at once")
    func valueProblems() throws {
        var configuration = RunConfiguration()
        configuration.data.path = ""
        configuration.federation.partition = "fair"
        configuration.federation.workers = 0
        configuration.federation.rounds = 0
        configuration.federation.fraction = 1.5
        configuration.training.learningRate = .nan
        configuration.training.momentum = 0.9
        configuration.averaging.serverNesterov = true
        configuration.averaging.clipNorm = 0
        configuration.machines.threads = 0
        configuration.limits.stragglerFactor = 0.5
        #expect(
            configuration.problems().map(\.key) == [
                "data", "partition", "workers", "rounds", "fraction", "straggler_factor", "learning_rate",
                "momentum", "server_nesterov", "clip_norm", "threads",
            ])
    }

    @Test("an option of another optimizer is named with those that have it")
    func optimizerProblems() throws {
        let file = try decode(
            #"{"optimizer": "rmsprop", "alpha": 0.9, "momentum": 0.5, "beta1": 0.8, "nesterov": true}"#)
        let problems = file.configuration.problems().filter {
            ["alpha", "momentum", "beta1", "nesterov"].contains($0.key)
        }
        #expect(
            problems == [
                ConfigurationProblem("nesterov", "belongs to the optimizer sgd, not to rmsprop"),
                ConfigurationProblem("beta1", "belongs to the optimizers adam, adamw, lion, not to rmsprop"),
            ])
        var training = TrainingSettings()
        training.optimizer = .rmsprop
        training.alpha = 0.9
        training.momentum = 0.5
        #expect(
            try training.options(round: 1, seed: 1).optimizer
                == .rmsprop(learningRate: 0.001, alpha: 0.9, momentum: 0.5))
        training = TrainingSettings()
        training.optimizer = .lion
        training.beta1 = 0.8
        #expect(try training.options(round: 1, seed: 1).optimizer == .lion(learningRate: 0.001, betas: (0.8, 0.99)))
    }

    @Test("a right configuration has no problems")
    func noProblems() throws {
        #expect(try TinyProblem.configuration().problems() == [])
    }

    @Test(
        "clients of a round and passes",
        arguments: [
            (100, 0.1, 45, 1, 10, 5), (3, 1.0, 3, 5, 3, 15), (10, 0.01, 4, 2, 1, 1), (7, 0.5, 2, 1, 4, 1),
        ])
    func arithmetic(workers: Int, fraction: Double, rounds: Int, epochs: Int, clients: Int, passes: Int) {
        var configuration = RunConfiguration()
        configuration.federation.workers = workers
        configuration.federation.fraction = fraction
        configuration.federation.rounds = rounds
        configuration.training.localEpochs = epochs
        #expect(configuration.clientsPerRound == clients)
        #expect(configuration.passes(rounds: rounds, examples: 6000) == passes)
        #expect(configuration.passes(rounds: 0, examples: 6000) == 1)
    }

    @Test("where steps are counted, passes follow from them")
    func passesOfSteps() throws {
        var configuration = RunConfiguration()
        configuration.federation.workers = 4
        configuration.training.localSteps = 500
        configuration.training.batchSize = 12
        // 10 rounds of 500 steps of 12 examples are 20 passes over a client's 3000.
        #expect(configuration.passes(rounds: 10, examples: 12000) == 20)
        #expect(configuration.passes(rounds: 1, examples: 12_000_000) == 1)
        let options = try configuration.training.options(round: 1, seed: 1)
        #expect(options.steps == 500 && options.epochs == 1)
        // A batch is no larger than its shard.
        configuration.training.batchSize = 1000
        #expect(configuration.passes(rounds: 1, examples: 400) == 500)
        configuration.training.localSteps = 0
        #expect(configuration.problems().map(\.key) == ["local_steps"])
    }

    @Test("a resume may change how a run is done, and do more rounds, but not what it computes")
    func differences() throws {
        let before = try TinyProblem.configuration()
        var after = before
        after.federation.rounds = 10
        after.limits.timeout = 5
        after.machines.parallel = 2
        after.machines.fleet = .local
        after.output.folder = "elsewhere"
        #expect(before.differences(resumed: after).isEmpty)
        after.training.learningRate = 0.2
        after.federation.rounds = 2
        #expect(
            before.differences(resumed: after).map(\.description) == [
                "rounds: was 3, now 2", "learning_rate: was 0.1, now 0.2",
            ])
    }

    @Test("the learning rate decays from round to round")
    func decay() throws {
        let configuration = try TinyProblem.configuration { $0.training.learningRateDecay = 0.5 }
        let rates = try (1...3).map { try configuration.training.options(round: $0, seed: 0).optimizer.learningRate }
        #expect(rates == [0.1, 0.05, 0.025])
    }

    @Test("clipping, accumulation, the proximal term and schedules reach the training")
    func trainingOptions() throws {
        let file = try decode(
            #"""
            {"clip_grad_norm": 1.5, "accumulate_steps": 4, "proximal_mu": 0.01, "learning_rate": 0.5, "rounds": 8,
             "optimizer": "sgd", "model": "x", "schedule": {"type": "cosine", "t_max": 100, "warmup_steps": 10},
             "round_schedule": {"type": "step", "step_size": 2, "gamma": 0.5}}
            """#)
        #expect(file.problems.isEmpty && file.configuration.problems().isEmpty)
        let data = try JSONEncoder().encode(file.configuration)
        #expect(try JSONDecoder().decode(RunConfiguration.self, from: data) == file.configuration)
        let options = try file.configuration.training.options(round: 5, seed: 1)
        #expect(options.clipGradNorm == 1.5 && options.accumulateSteps == 4 && options.proximalMu == 0.01)
        #expect(options.optimizer.learningRate == 0.125)
        #expect(options.schedule == LearningRateSchedule(.cosine(steps: 100), warmupSteps: 10))
        let wrong = try decode(
            #"{"schedule": {"type": "spiral"}, "round_schedule": {"type": "cosine", "t_max": 3, "eta_min": 9}, "model": "x"}"#
        )
        #expect(wrong.problems.map(\.key) == ["schedule"])
        #expect(wrong.configuration.problems().map(\.key) == ["round_schedule"])
    }

    @Test("a worker is told the very options of the configuration")
    func workerJob() throws {
        let plan = try TinyProblem.plan("/nowhere") {
            $0.training.momentum = 0.9
            $0.training.nesterov = true
            $0.training.learningRate = 0.1 + 0.2
        }
        var assignment = TrainAssignment(
            round: 1, attempt: 1, shard: Shard(index: 0, count: 3),
            weights: RoundWeights(round: 0, weights: plan.initialWeights),
            options: try plan.configuration.training.options(round: 1, seed: .max), timeLimit: 10)
        assignment.threads = 2
        let limits = assignment.job.limits
        #expect(limits.threads == 2 && limits.maxSeconds == nil && !limits.allowsPartialWork)
        #expect(assignment.job.kind == .train(assignment.options))
        assignment.maxSeconds = 3
        #expect(assignment.job.limits.allowsPartialWork)
    }
}
