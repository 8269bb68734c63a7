/// What is written.
public struct OutputSettings: SettingGroup {
    /// The run folder; `nil`: a new one under `runs/`.
    public var folder: String?
    /// Compare with the same model trained in one place, and on one shard alone.
    public var comparison = true
    /// Keep every accepted delta in the run folder.
    public var keepDeltas = false
    /// Write the run's curves for TensorBoard, too.
    public var tensorBoard = true

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("output", \Self.folder, .free, "text"),
        Setting("comparison", \Self.comparison, .free, "true or false"),
        Setting("keep_deltas", \Self.keepDeltas, .free, "true or false"),
        Setting("tensorboard", \Self.tensorBoard, .free, "true or false"),
    ]

    func rules() -> [ConfigurationProblem] { [] }
}
