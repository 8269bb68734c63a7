import Federation
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
        #expect(configuration.workers == 3 && configuration.rounds == 3 && configuration.localEpochs == 5)
        #expect(
            configuration.batchSize == 64 && configuration.optimizer == .adam && configuration.learningRate == 0.001)
        #expect(configuration.partition == "iid" && configuration.seed == 0 && configuration.fraction == 1)
    }

    @Test("every setting survives writing and reading")
    func roundTrip() throws {
        var configuration = try TinyProblem.configuration()
        configuration.seed = .max
        configuration.minWorkers = 2
        configuration.clipNorm = 3.25
        configuration.optimizer = .adamw
        configuration.beta1 = 0.8
        configuration.golem = ["budget": "5", "subnet": "public"]
        configuration.output = "runs/a"
        let data = try JSONEncoder().encode(configuration)
        #expect(try JSONDecoder().decode(RunConfiguration.self, from: data) == configuration)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(object["local_epochs"] as? Int == 2)
    }

    @Test("null means nothing where nothing is a value, and the default elsewhere")
    func null() throws {
        let file = try decode(#"{"min_workers": null, "learning_rate": null}"#)
        #expect(file.problems.isEmpty)
        #expect(file.configuration.minWorkers == nil && file.configuration.learningRate == 0.001)
    }

    @Test("Golem's options may be texts, numbers and booleans")
    func golemOptions() throws {
        let file = try decode(
            #"{"golem": {"budget": 5, "subnet": "public", "max_price_per_hour": 0.25, "fresh": true}}"#)
        #expect(file.problems.isEmpty)
        #expect(
            file.configuration.golem
                == ["budget": "5", "subnet": "public", "max_price_per_hour": "0.25", "fresh": "true"])
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
                ConfigurationProblem("optimizer", "is to be sgd, adam or adamw"),
                ConfigurationProblem("fleet", "is to be local, simulated or golem"),
            ])
        #expect(file.configuration.workers == 5)
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
        configuration.data = ""
        configuration.partition = "fair"
        configuration.workers = 0
        configuration.rounds = 0
        configuration.fraction = 1.5
        configuration.learningRate = .nan
        configuration.momentum = 0.9
        configuration.serverNesterov = true
        configuration.clipNorm = 0
        configuration.threads = 0
        configuration.stragglerFactor = 0.5
        #expect(
            configuration.problems().map(\.key) == [
                "data", "model", "partition", "workers", "rounds", "fraction", "straggler_factor", "learning_rate",
                "momentum", "server_nesterov", "clip_norm", "threads",
            ])
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
        configuration.workers = workers
        configuration.fraction = fraction
        configuration.rounds = rounds
        configuration.localEpochs = epochs
        #expect(configuration.clientsPerRound == clients)
        #expect(configuration.passes == passes)
    }

    @Test("a resume may change how a run is done, and do more rounds, but not what it computes")
    func differences() throws {
        let before = try TinyProblem.configuration()
        var after = before
        after.rounds = 10
        after.timeout = 5
        after.parallel = 2
        after.fleet = .local
        after.output = "elsewhere"
        #expect(before.differences(resumed: after).isEmpty)
        after.learningRate = 0.2
        after.rounds = 2
        #expect(
            before.differences(resumed: after).map(\.description) == [
                "rounds: was 3, now 2", "learning_rate: was 0.1, now 0.2",
            ])
    }

    @Test("the learning rate decays from round to round")
    func decay() throws {
        let configuration = try TinyProblem.configuration { $0.learningRateDecay = 0.5 }
        let rates = try (1...3).map { try configuration.trainingOptions(round: $0, seed: 0).optimizer.learningRate }
        #expect(rates == [0.1, 0.05, 0.025])
    }

    @Test("a worker is told the very options of the configuration")
    func workerJob() throws {
        let plan = try TinyProblem.plan("/nowhere") {
            $0.momentum = 0.9
            $0.nesterov = true
            $0.learningRate = 0.1 + 0.2
        }
        var assignment = TrainAssignment(
            round: 1, attempt: 1, shard: Shard(index: 0, count: 3),
            weights: RoundWeights(round: 0, weights: plan.initialWeights),
            options: try plan.configuration.trainingOptions(round: 1, seed: .max), timeLimit: 10)
        assignment.threads = 2
        let job = assignment.job(weights: "w", shard: "s", delta: "d", report: "r")
        let read = try WorkerJob(json: job.json.utf8)
        #expect(read == job)
        #expect(read.training == assignment.options && read.limits.threads == 2 && !read.limits.allowsPartialWork)
        assignment.maxSeconds = 3
        #expect(assignment.job(weights: "w", shard: "s", delta: "d", report: "r").limits.allowsPartialWork)
    }
}
