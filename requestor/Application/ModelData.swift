import Datasets
import Federation
import NeuralNetwork
import Tensors

/// The examples that a command uses a model on: the one door through which evaluate and predict get theirs.
struct ModelData {
    var path: String
    /// Name of the dataset.
    var name: String
    /// `[N, …input shape]`
    var x: Tensor
    /// Nil where the examples have no labels.
    var y: Tensor?
    /// Rows of the file, counted from 0.
    var rows: [Int]
    var part: DatasetPart
    /// What a person is to know of how the file was taken.
    var notes: [Decision]

    /// - Parameters:
    ///   - part: nil: the test set of the data that the model was made from, or of data that has one; else all.
    init(_ request: DataRequest, _ model: ModelArgument, part wanted: DatasetPart?, _ paths: Paths) throws {
        let description = model.weights.model
        path = try Self.path(request, model, paths)
        let place = paths.shown(path)
        do throws(DeMLError) {
            var options = try request.options()
            options.schema = model.schema
            options.labels = description.loss.labels
            var found = try ModelExamples(path: path, options: options)
            name = found.name
            notes = found.decisions
            if request.data == nil, model.schema.source != nil, !found.isOwn {
                throw DeMLError(
                    .mismatch, "this is not the data that the run was trained on: it has changed",
                    hint: "name it by --data to use the model on it as it is now")
            }
            if !found.isOwn, let fraction = request.testFraction { try found.divide(fraction: fraction) }
            let (chosen, chosenPart) = try Self.choose(wanted, found, &notes)
            part = chosenPart
            x = try Self.fitted(chosen.x, to: description.inputShape)
            y = chosen.y
            rows = chosen.rows
        } catch {
            throw error.place?.hasPrefix(path) == true || error.place?.hasPrefix(place) == true
                ? error : error.within(place)
        }
    }

    /// The data that was named, or that of the run.
    static func path(_ request: DataRequest, _ model: ModelArgument, _ paths: Paths) throws -> String {
        if let data = request.data { return try paths.dataset(data, from: paths.workingFolder) }
        guard let run = model.run else {
            throw DeMLError(
                .usage, "it is not said which data: the model is not in the folder of a run",
                place: paths.shown(model.path), hint: "name the data by --data")
        }
        return try paths.data(of: run)
    }

    private static func choose(
        _ wanted: DatasetPart?, _ found: ModelExamples, _ notes: inout [Decision]
    ) throws(DeMLError) -> (ModelExamples.Part, DatasetPart) {
        func note(_ text: String) { notes.append(Decision("examples", text, isWarning: true)) }
        switch wanted {
        case nil:
            if let test = found.test { return (test, .test) }
            let all = try found.all()
            if found.isOwn { note("the model was trained on all of these rows") }
            return (all, .all)
        case .test?:
            guard let test = found.test else {
                throw DeMLError(
                    .missing, "the data has no test set",
                    hint: "use --split all, or let --test-fraction set a part apart")
            }
            return (test, .test)
        case .validation?:
            guard let validation = found.validation else {
                throw DeMLError(
                    .missing,
                    found.isOwn
                        ? "the model was trained without a validation set"
                        : "only a run's own data has a validation set",
                    hint: "use --split test or all")
            }
            note("the model was chosen by these rows")
            return (validation, .validation)
        case .train?:
            guard let train = found.train else {
                throw DeMLError(.missing, "the data has no training set", hint: "use --split test")
            }
            if found.isOwn { note("the model was trained on these rows") }
            return (train, .train)
        case .all?:
            if found.isOwn { note("the model was trained on a part of these rows") }
            return (try found.all(), .all)
        }
    }

    /// The examples in the model's shape. One example may come without the first dimension.
    static func fitted(_ x: Tensor, to shape: [Int]) throws(DeMLError) -> Tensor {
        if x.shape == shape || (x.count == shape.reduce(1, *) && x.shape.filter { $0 != 1 } == shape.filter { $0 != 1 })
        {
            return try x.reshaped([1] + shape)
        }
        return try Dataset.fit(x, to: shape)
    }
}

extension Paths {
    /// Where the data of a run lies: where it was, or as far from the run's folder as it was.
    func data(of run: RunFolder) throws -> String {
        let recorded = try? run.readData()
        let path = try recorded?.path ?? run.readConfiguration().data.path
        if Files.exists(path) { return path }
        if let relative = recorded?.relativePath {
            let moved = Self.normalized(run.path + "/" + relative)
            if Files.exists(moved) { return moved }
        }
        throw DeMLError(
            .notFound, "the data of the run is not where it was", place: shown(path),
            hint: "say by --data where it is now")
    }
}

extension Application {
    /// What a model takes, for whoever asks people for it.
    public func modelInputs(_ model: String) throws -> ModelInputs {
        let model = try ModelArgument(model, paths)
        let shape = model.weights.model.inputShape
        return ModelInputs(
            description: model.weights.model.canonicalJSON, schema: model.schema, shape: shape,
            knowsDigits: DrawnDigit.suits(shape) && DrawnDigit.isKnown(to: model),
            writesText: model.weights.model.labelsTokens)
    }
}

/// What a model takes.
public struct ModelInputs: Sendable {
    /// The model itself, as JSON.
    public var description: String
    /// Of a file without one, what its shapes say.
    public var schema: Schema
    /// Of one input.
    public var shape: [Int]
    /// It was made for digits as MNIST has them.
    public var knowsDigits: Bool
    /// It says what follows each token of a text: ``Application/generate(_:onText:)`` uses it.
    public var writesText: Bool
    /// What its tokens are called; nil for a model of measurements.
    public var tokens: TokenNames? {
        if case .tokens(_, let names) = schema.features { TokenNames(names) } else { nil }
    }
}
