/// What the examples are.
public struct DataSettings: SettingGroup {
    /// A dataset: a folder or file, or the name of one that comes with DeML ("mnist").
    public var path = "mnist"
    /// The share of the examples that is split off as test set where the data has none, above 0 and below 1.
    public var testFraction = 0.2
    /// The share of the training examples that is set apart for validation: the best model and early stopping are chosen by
    /// it, not by the test set; `nil`: none is.
    public var validationFraction: Double?
    /// The column of a CSV file that holds the labels: its name, or its number from 0; `nil`: the first.
    public var labelColumn: String?

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("data", \Self.path, .fixed, "text"),
        Setting(
            "test_fraction", \Self.testFraction, .fixed,
            NumberRange(0, 1, includesLower: false, includesUpper: false)),
        Setting(
            "validation_fraction", \Self.validationFraction, .fixed,
            NumberRange(0, 1, includesLower: false, includesUpper: false)),
        Setting("label_column", \Self.labelColumn, .fixed, "text"),
    ]

    func rules() -> [ConfigurationProblem] {
        path.isEmpty
            ? [ConfigurationProblem("data", "is missing: name a dataset, for example 'mnist' or a folder")] : []
    }
}
