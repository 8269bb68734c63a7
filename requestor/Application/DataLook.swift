import Datasets
import Federation
import NeuralNetwork
import Tensors

/// What a dataset is, as a run would read it, and what a run would do with it where nothing else is said.
public struct DataLook: Sendable {
    /// Its path, absolute.
    public var path: String
    public var name: String
    public var schema: Schema
    /// What was decided, for people.
    public var decisions: [Decision]
    public var trainExamples: Int
    public var testExamples: Int
    /// The shape of one example, as a model takes it.
    public var inputShape: [Int]
    /// Training examples of each class; nil for a regression, and for text, in which each token has a label.
    public var classCounts: [Int]?
    /// The model and the training that would be chosen.
    public var model: ModelDescription
    public var configuration: RunConfiguration
    /// Whether it says by itself who has what: files, or the values of a column that was named.
    public var hasClients: Bool
    /// Some examples as grey pictures, where they are pictures.
    public var pictures: [Pictures.Frame]
}

extension Application {
    /// Reads a dataset and says what it is.
    /// - Parameter partition: as ``Partition/init(parsing:)`` reads it: a column that says whose a row is is no feature.
    public func look(at request: DataRequest, partition: String? = nil) throws -> DataLook {
        guard let name = request.data else { throw DeMLError(.usage, "it is not said which data is meant") }
        var configuration = RunConfiguration()
        configuration.data.path = try paths.dataset(name, from: paths.workingFolder)
        try configuration.data.take(request)
        if let partition { configuration.federation.partition = partition }
        let data = try TrainingData(&configuration, given: [], resumed: nil, paths)
        guard case .description(let model)? = configuration.model.source else {
            throw DeMLError(.internal, "no model was chosen for the data", place: paths.shown(configuration.data.path))
        }
        var counts: [Int]?
        if let classes = data.dataset.classes, !data.dataset.labelsTokens {
            var sums = [Int](repeating: 0, count: classes)
            for label in try data.dataset.trainLabels() { sums[label] += 1 }
            counts = sums
        }
        let x = data.dataset.train.x
        let shown = min(12, data.dataset.train.count)
        let shape = data.dataset.train.exampleShape
        let pictures = try Pictures(x.rows(0..<shown), shape: shape.count == 2 ? [1] + shape : shape)
        return DataLook(
            path: configuration.data.path, name: data.dataset.name, schema: data.dataset.schema,
            decisions: data.decisions, trainExamples: data.dataset.train.count,
            testExamples: data.dataset.test?.count ?? 0, inputShape: shape, classCounts: counts,
            model: model, configuration: configuration, hasClients: data.dataset.groups != nil,
            pictures: pictures.map { frames in (0..<shown).map(frames.frame) } ?? [])
    }

    /// The settings of a run, checked without reading its data: everything that is wrong is thrown together.
    public func settings(_ request: TrainRequest) throws -> RunConfiguration {
        try TrainSettings(
            file: request.file, resumed: nil, given: request.settings, golem: request.golem, paths: paths,
            document: request.document
        ).configuration
    }
}

extension DataSettings {
    /// How a person wants a table read.
    mutating func take(_ request: DataRequest) throws(DeMLError) {
        testFraction = request.testFraction ?? 0.2
        labelColumn = request.labelColumn
        labels = request.labels
        header = request.header
        decimal = request.decimal
        standardize = request.standardize
        text = try request.options().text
        missingValues = TextList(request.missingValues)
        ignoreColumns = TextList(request.ignoreColumns)
        categoryColumns = TextList(request.categoryColumns)
    }
}
