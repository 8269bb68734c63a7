import Tensors

extension Dataset {
    /// A part of the training set, set apart to choose by: what is looked at while training, so that the test set stays
    /// unseen until the end. Like the test split it depends on the dataset and the fraction alone.
    /// - Parameter fraction: above 0 and below 1, of the training set.
    /// - Returns: the dataset with what is left to train on, and the validation set; both in the order of the data.
    ///
    /// Throws `usage` where there are too few examples.
    public func splitValidation(fraction: Double) throws(DeMLError) -> (dataset: Dataset, validation: Part) {
        let (rows, validation) = try Self.validationRows(fraction: fraction, of: train.count)
        var rest = self
        rest.train = train.gathered(rows)
        rest.trainRows = rows.map { trainRows[$0] }
        if let groups { rest.groups = (rows.map { groups.ids[$0] }, groups.names) }
        return (rest, train.gathered(validation))
    }

    /// Which of so many training examples stay, and which are set apart; both in their order.
    static func validationRows(
        fraction: Double, of total: Int
    ) throws(DeMLError) -> (train: [Int], validation: [Int]) {
        guard fraction > 0, fraction < 1, total >= 2 else {
            throw DeMLError(
                .usage, "\(fraction) of \(total) training examples cannot be set apart for validation",
                hint: "give a fraction between 0 and 1, or more examples")
        }
        let count = min(max(1, Int((Double(total) * fraction).rounded())), total - 1)
        var generator = SeededGenerator(seed: 0, purpose: "validation-split")
        let order = generator.permutation(total)
        return (order[count...].sorted(), order[..<count].sorted())
    }
}
