extension RentalPlan {
    /// The most that the plan's machines can cost in `hours` each, at the plan's price limits and with all their threads
    /// busy: Σ machines × (start + hours × hour), rounded up to a unit of 10⁻¹⁸ GLM. As golem-js's `estimateBudget`.
    ///
    /// - Parameter starts: how often each machine is taken; more than once where they are lost and replaced.
    /// - Returns: `nil` without a limit for the hour or the start, as nothing can be said then.
    public func estimatedBudget(hours: Double, starts: Double = 1) -> Amount? {
        RentalPlan.estimatedBudget(machines: machines, hours: hours, priceLimits: priceLimits, starts: starts)
    }

    /// ``estimatedBudget(hours:starts:)`` before there is a plan.
    public static func estimatedBudget(
        machines: Int, hours: Double, priceLimits: PriceLimits = .standard, starts: Double = 1
    ) -> Amount? {
        guard let hour = priceLimits.perHour, let start = priceLimits.start, machines >= 0, hours >= 0, hours.isFinite,
            starts >= 0, let once = Amount(glm: start), let each = Amount(glm: hour), once >= .zero, each >= .zero
        else { return nil }
        // Beyond that an amount has no room; it is no sum that anybody has.
        guard start * starts * Double(machines) + hour * hours * Double(machines) < 1e18 else { return nil }
        return once.scaled(by: starts * Double(machines)) + each.scaled(by: hours * Double(machines))
    }
}
