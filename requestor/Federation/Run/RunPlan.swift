import Datasets
import Fleets
import NeuralNetwork
import Tensors
import Worker

/// A run, prepared: settings that fit together and fit the data, the examples of every client, the test set.
public struct RunPlan: Sendable {
    public let configuration: RunConfiguration
    public let folder: RunFolder
    public let model: ModelDescription
    /// What the run starts from.
    public let initialWeights: Weights
    /// Indices of the training examples of every client.
    public let parts: [[Int]]
    /// How many examples of each class each client has; `nil` for regression.
    public let labels: LabelDistribution?
    /// By what the data is known again.
    public let data: RunData
    let dataset: Dataset
    let train: Examples
    let test: Examples
    /// What is chosen by; nil: the test set.
    let validation: Examples?
    /// How much each class counts; nil: all the same.
    public let classWeights: [Double]?
    /// Threads for evaluation and comparison.
    let threads: Int

    /// Checks everything that can be checked before a machine is asked.
    /// - Throws: ``ConfigurationError`` with every problem of the settings, or `DeMLError` when model and data do not fit.
    /// - Parameter weights: what the run starts from, where it was read already; else it is read from the file that the
    ///   settings name, or is fresh.
    public init(
        configuration: RunConfiguration, dataset: Dataset, folder: RunFolder, weights: Weights? = nil,
        threads: Int? = nil
    ) throws {
        var problems = configuration.problems()
        if configuration.federation.workers > dataset.train.count {
            problems.append(
                ConfigurationProblem(
                    "workers",
                    "\(configuration.federation.workers) shards cannot be made of \(dataset.train.count) examples"))
        }
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        guard case .description(let model)? = configuration.model.source else {
            throw DeMLError(.internal, "the model of a run is to be a description by now")
        }
        if configuration.averaging.localBatchNorm, model.batchNorms.isEmpty {
            throw ConfigurationError([
                ConfigurationProblem("local_batch_norm", "the model has no batch_norm that could stay with its client")
            ])
        }
        let fingerprint = DataFingerprint(dataset)
        var schema = dataset.schema
        schema.source = Schema.Source(
            sha256: fingerprint.sha256, testFraction: dataset.isSplit ? configuration.data.testFraction : 0, seed: 0,
            validationFraction: configuration.data.validationFraction ?? 0, stride: dataset.stride,
            isByRole: dataset.isByRole)
        data = RunData(dataset, fingerprint, schema, path: configuration.data.path, folder: folder.path)
        var dataset = try dataset.fitted(to: model.inputShape)
        var validation: Dataset.Part?
        if let fraction = configuration.data.validationFraction {
            do throws(DeMLError) {
                (dataset, validation) = try dataset.splitValidation(fraction: fraction)
            } catch {
                throw error.within("validation_fraction")
            }
            guard configuration.federation.workers <= dataset.train.count else {
                throw ConfigurationError([
                    ConfigurationProblem(
                        "workers",
                        "\(configuration.federation.workers) shards cannot be made of the \(dataset.train.count) examples"
                            + " beside the validation set")
                ])
            }
        }
        guard let test = dataset.test else {
            throw DeMLError(
                .missing, "the dataset has no test set to measure the model with", place: dataset.name,
                hint: "give a test set, or let a part of the data be split off")
        }
        let train: Examples
        do throws(DeMLError) { train = try Examples(x: dataset.train.x, y: dataset.train.y, for: model) } catch {
            throw error.within("training set")
        }
        do throws(DeMLError) { self.test = try Examples(x: test.x, y: test.y, for: model) } catch {
            throw error.within("test set")
        }
        do throws(DeMLError) {
            self.validation = try validation.map { (part) throws(DeMLError) in
                try Examples(x: part.x, y: part.y, for: model)
            }
        } catch {
            throw error.within("validation set")
        }
        classWeights = configuration.training.classWeights.map {
            $0.numbers(classes: model.classes, labels: train.labels ?? [])
        }
        if var weights {
            weights.schema = schema.canonicalJSON
            initialWeights = weights
        } else if let path = configuration.model.initialWeights {
            initialWeights = try Self.initialWeights(path, model, schema)
        } else {
            var weights = Initializer.weights(for: model, seed: configuration.federation.seed)
            weights.schema = schema.canonicalJSON
            initialWeights = weights
        }
        // The learning rate goes up or down over the rounds, and must fit the schedule within a round all the time.
        for round in [1, configuration.federation.rounds] {
            var options = try configuration.training.options(round: round, seed: 0)
            options.classWeights = classWeights
            try options.validate(for: model)
        }
        parts = try dataset.partition(
            try Partition(parsing: configuration.federation.partition), parts: configuration.federation.workers,
            seed: configuration.federation.seed)
        labels = try dataset.labelDistribution(parts)
        self.configuration = configuration
        self.folder = folder
        self.model = model
        self.dataset = dataset
        self.train = train
        self.threads = threads ?? availableProcessors()
    }

    /// The weights to start from, out of a file of the same model. Errors name the file.
    private static func initialWeights(
        _ path: String, _ model: ModelDescription, _ schema: Schema
    ) throws(DeMLError) -> Weights {
        let file = try Safetensors(contentsOf: path)
        do throws(DeMLError) {
            let found = try Weights(file, model: model)
            var weights = try Weights(model: model, parameters: found.parameters, round: 0)
            weights.schema = schema.canonicalJSON
            return weights
        } catch {
            var error = error
            let names = file.tensors.prefix(6).map { "\($0.name.quotedForMessage) \($0.tensor.shape)" }
            error.hint =
                error.hint
                ?? "the file holds \(names.joined(separator: ", "))\(file.tensors.count > 6 ? " and more" : "")"
            throw error.within(path)
        }
    }

    var randomness: RunRandomness { RunRandomness(seed: configuration.federation.seed) }

    /// How a client trains in a round.
    func trainingOptions(round: Int, seed: UInt64) throws(DeMLError) -> TrainingOptions {
        var options = try configuration.training.options(round: round, seed: seed)
        options.classWeights = classWeights
        return options
    }
}

extension RunPlan {
    /// The shards, written into the run folder where the fleet needs files. Shards that are there from before a resume and
    /// have the bytes they had are left alone.
    func shards(asFiles: Bool, _ storage: RunStorage) throws -> [Shard] {
        guard asFiles else {
            return parts.enumerated().map { index, part in
                Shard(index: index, count: part.count, examples: train.subset(part))
            }
        }
        try storage.createDirectory(folder.shards)
        let known: [StoredFile] = (try? folder.decode(folder.shardList)) ?? []
        var shards: [Shard] = []
        for (index, part) in parts.enumerated() {
            try Task.checkCancellation()
            let path = folder.shard(index)
            let file: StoredFile
            if let known = known.first(where: { $0.path == Files.name(of: path) }),
                Files.size(of: path) == known.byteCount,
                try Safetensors.digestOfContents(of: path) == known.sha256
            {
                file = StoredFile(path: path, sha256: known.sha256, byteCount: known.byteCount)
            } else {
                let sha256 = try dataset.writeShard(part, to: path)
                file = StoredFile(path: path, sha256: sha256, byteCount: Files.size(of: path) ?? 0)
            }
            shards.append(Shard(index: index, count: part.count, file: file))
        }
        let list = shards.compactMap(\.file).map {
            StoredFile(path: Files.name(of: $0.path), sha256: $0.sha256, byteCount: $0.byteCount)
        }
        if list != known { try storage.replace(folder.shardList, with: try RunJSON.encode(list)) }
        return shards
    }
}
