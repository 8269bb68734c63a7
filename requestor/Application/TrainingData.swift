import Datasets
import Federation
import NeuralNetwork
import Tensors

/// The data of a run as its settings want it read, and what it says of a model that leaves things out.
struct TrainingData {
    var dataset: Dataset
    /// What was decided, warnings of a model that does not suit included.
    var decisions: [Decision]
    /// The YAML of a model that was chosen because none was given.
    var chosenModel: String?

    /// - Parameters:
    ///   - configuration: gets the whole model, and the number of clients where the data says it.
    ///   - given: keys that a person has set.
    init(
        _ configuration: inout RunConfiguration, given: Set<String>, resumed: RunFolder?, _ paths: Paths
    ) throws {
        var options = configuration.data.options
        let partition = try Partition(parsing: configuration.federation.partition)
        if case .byColumn(let column) = partition { options.groupColumn = column }
        let known = try resumed.flatMap { try $0.readData() }
        let model = ModelNeeds(configuration.model.source)
        if let loss = model.loss?.labels {
            guard options.labels == .automatic || options.labels == loss else {
                throw DeMLError(
                    .usage,
                    "the labels are to be \(options.labels.rawValue), but the model's loss learns \(loss.rawValue)",
                    place: "--labels")
            }
            options.labels = loss
        }
        options.outputs = model.outputs
        options.inputShape = model.inputShape
        options.tokens = model.tokens
        options.standardizes =
            configuration.data.standardize ?? (!model.isNormalised && (model.inputShape?.count ?? 1) == 1)
        options.schema = known?.schema
        let path = configuration.data.path
        let continued = try known == nil ? Self.continued(configuration, &options, given: given, paths) : nil
        let place = paths.shown(path)
        do throws(DeMLError) { dataset = try Dataset(path: path, options: options) } catch {
            var error = error
            if let at = error.place { error.place = paths.shown(at) }
            throw error
        }
        if let known {
            if let difference = known.fingerprint.difference(to: DataFingerprint(dataset)) {
                throw DeMLError(
                    .mismatch, "the data is not what the run began with: \(difference)", place: place,
                    hint: "put the data back as it was, or start another run")
            }
            dataset.decisions = known.decisions
        }
        if configuration.data.standardize == nil, !options.standardizes, case .table = dataset.schema.features,
            known == nil
        {
            dataset.decisions = dataset.decisions.map { decision in
                guard decision.subject == "numbers" else { return decision }
                return Decision(
                    "numbers", "as they are, the model scales them or takes pictures (--standardize true)")
            }
        }
        if partition.isNatural, !given.contains("workers") {
            configuration.federation.workers = try dataset.clients(partition)
        }
        if let continued { dataset.decisions.insert(continued, at: 0) }
        decisions = dataset.decisions
        switch configuration.model.source {
        case .outline(let outline)?:
            let description: ModelDescription
            do throws(DeMLError) {
                description = try outline.completed(
                    inputShape: dataset.train.exampleShape, tokens: dataset.schema.tokens,
                    outputs: dataset.schema.outputs,
                    loss: outline.loss ?? dataset.defaultLoss)
            } catch {
                throw ConfigurationError([ConfigurationProblem("model", error.summary)])
            }
            configuration.model.source = .description(description)
            decisions.append(
                Decision(
                    "model",
                    "input \(description.inputShape), \(description.outputShape) outputs, \(description.loss.name): from the data"
                ))
        case nil:
            let choice = try ModelChoice(dataset)
            configuration.model.source = .description(choice.description)
            choice.settle(&configuration, given: given)
            chosenModel = choice.yaml(configuration)
        case .description?, .path?: break
        }
        if case .description(let description)? = configuration.model.source {
            try Self.checkTokens(dataset, description)
            decisions += Self.warnings(dataset, description)
            dataset.decisions = decisions
        }
    }

    /// Lets the data be read as the model that is gone on from knows it: columns and classes by their names, numbers by its
    /// scale, and the test set as it was, because a model is not tested with what it was trained on.
    private static func continued(
        _ configuration: RunConfiguration, _ options: inout DatasetOptions, given: Set<String>, _ paths: Paths
    ) throws -> Decision? {
        guard let path = configuration.model.continueFrom else { return nil }
        let model = try ModelArgument(path, paths)
        guard model.hasSchema else { return nil }
        options.schema = model.schema
        if let source = model.schema.source, source.testFraction > 0,
            configuration.data.testFraction != source.testFraction,
            try ModelExamples(path: configuration.data.path, options: options).isOwn
        {
            throw DeMLError(
                .usage,
                "with another test_fraction than \(source.testFraction) the model would be tested with rows that it was trained on",
                place: given.contains("test_fraction") ? "test_fraction" : paths.shown(model.path),
                hint: "say --test-fraction \(source.testFraction)")
        }
        return Decision("read as", "\(paths.shown(model.path)) knows it: its columns, classes and scale")
    }

    /// Refuses a model of other tokens than the data's.
    private static func checkTokens(_ dataset: Dataset, _ model: ModelDescription) throws {
        let (known, found) = (model.input.tokens, dataset.schema.tokens)
        guard (known == nil) != (found == nil) || (known ?? 0) < (found ?? 0) else { return }
        let message =
            if let found, let known { "its input has \(known) tokens, but the data \(found)" } else if let found {
                "it takes measurements, but the data is text of \(found) tokens: its first layer is to be embedding"
            } else { "it takes tokens, but the data is no text" }
        throw ConfigurationError([ConfigurationProblem("model", message)])
    }

    /// Ranges that look wrong, and classes that the model has no outputs for.
    private static func warnings(_ dataset: Dataset, _ model: ModelDescription) -> [Decision] {
        var warnings: [Decision] = []
        let divisor = abs(model.input.divideBy)
        let largest = dataset.train.largestMagnitude
        if divisor >= 16, largest <= 1 {
            warnings.append(
                Decision(
                    "range", "no number is larger than 1, and the model divides by \(model.input.divideBy)",
                    isWarning: true))
        }
        if divisor == 1, model.input.standardDeviation.isEmpty, dataset.train.x.dtype == .u8, largest > 64,
            model.inputShape.count == 3
        {
            warnings.append(
                Decision(
                    "range", "pictures go up to \(Int(largest)): input: {divide_by: 255} is usual", isWarning: true))
        }
        if model.loss == .crossEntropy, dataset.schema.outputs < model.classes, dataset.schema.classNames != nil {
            warnings.append(
                Decision(
                    "model", "it has \(model.classes) outputs, but the data \(dataset.schema.outputs) classes"))
        }
        return warnings
    }
}

/// What is known of a model before the data is read.
private struct ModelNeeds {
    var loss: ModelDescription.Loss?
    var outputs: Int?
    var inputShape: [Int]?
    var tokens: Int?
    var isNormalised = false

    init(_ source: ModelSource?) {
        switch source {
        case .description(let model)?:
            loss = model.loss
            outputs = model.loss == .crossEntropy ? model.classes : nil
            tokens = model.input.tokens
            inputShape = model.inputShape
            isNormalised =
                model.input.divideBy != 1 || !model.input.mean.isEmpty || !model.input.standardDeviation.isEmpty
        case .outline(let outline)?:
            loss = outline.loss
            inputShape = outline.inputShape
            tokens = outline.tokens
            isNormalised = outline.isNormalised
        case .path?, nil: break
        }
    }
}

extension Dataset {
    /// Classes are learned by cross entropy, numbers by squared error.
    var defaultLoss: ModelDescription.Loss { classes == nil ? .meanSquaredError : .crossEntropy }
}

extension Dataset.Part {
    /// Of the first examples.
    var largestMagnitude: Float {
        let rows = x.rows(0..<min(count, 1000))
        let values = (try? rows.dtype == .u8 ? rows.integers().map(Float.init) : rows.floats()) ?? []
        return values.reduce(0) { max($0, abs($1)) }
    }
}
