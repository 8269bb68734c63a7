extension ModelDescription {
    /// Numbers that the layers write for one example: with ``multiplyAdds`` what an estimate of time needs.
    public var activationsPerExample: Double { resolved.reduce(0) { $0 + $1.activations } }
}

extension ResolvedLayer {
    fileprivate var activations: Double {
        branches.reduce(output.reduce(1) { $0 * Double($1) }) { $0 + $1.reduce(0) { $0 + $1.activations } }
    }
}
