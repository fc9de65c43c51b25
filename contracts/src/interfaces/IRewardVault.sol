// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMemberRegistry} from "./IMemberRegistry.sol";
import {IRoundLedger, RoundResult} from "./IRoundLedger.sol";

/// @notice A member's own money in the vault.
/// @param staked What stands for its good behaviour, in wei.
/// @param unbonding What it asked back, in wei; it can still be slashed.
/// @param bonded What is locked behind its open challenges, in wei.
/// @param releaseAt When what is unbonding can be withdrawn, in Unix seconds.
struct Stake {
    uint128 staked;
    uint128 unbonding;
    uint128 bonded;
    uint64 releaseAt;
}

/// @title The money, and who has received how much of it
/// @notice Pays what a final result owes to each member, and what others paid for the model since; and holds what
/// members stake. The money is the chain's own coin or one ERC-20 token, named for ever at deployment; "wei" is its
/// smallest unit. It leaves in three ways, all of them to a member's account: a proven reward, a proven part of
/// revenue, and a stake whose unbonding is over. None of them can be paused, or delayed by anybody else.
interface IRewardVault {
    /* ERRORS */

    /// @notice There is no contract at the registry's address.
    error NoRegistry(address registry);

    /// @notice The registry names another vault.
    error NotTheVault(address named);

    /// @notice The registry names another ledger.
    error NotTheLedger(address named);

    /// @notice There is no token at this address.
    error NoToken(address asset);

    /// @notice A share of the budget has at most a million parts per million.
    error ParticipationOutOfRange(uint32 found);

    /// @notice A stake has to unbond for longer than a round can be disputed.
    error UnbondingTooShort(uint256 least, uint64 found);

    /// @notice Funding, paying or staking without money, or with so little that a token's fee eats it.
    error NothingFunded();

    /// @notice The coins of the call are not the amount that it names; where the money is a token, there are none.
    error ValueMismatch(uint256 expected, uint256 found);

    /// @notice Paying out took more from the vault than was paid: the token is not one that can be held.
    error TokenOvercharged(uint256 amountWei, uint256 takenWei);

    /// @notice The member's account refused the payment.
    error PaymentFailed(address account, uint256 amountWei);

    /// @notice The ledger has not recorded this round.
    error RoundNotRecorded(uint64 round);

    /// @notice The ledger recorded another result of this round.
    error ResultMismatch(uint64 round, bytes27 recorded, bytes32 found);

    /// @notice Rewards after this round, or a later one, are active already. Round 0 pays nothing.
    error RoundNotNewer(uint64 active, uint64 found);

    /// @notice This round can be disputed, or ruled on, until `endsAt`, in Unix seconds.
    error DisputeWindowOpen(uint64 round, uint256 endsAt);

    /// @notice A quorum ruled that the rewards of this round are wrong.
    error RoundIsVoid(uint64 round);

    /// @notice A quorum stopped the activation of rounds until then, in Unix seconds.
    error RoundsPaused(uint256 until);

    /// @notice Cumulative rewards never shrink.
    error TotalDecreased(uint256 active, uint256 found);

    /// @notice The rewards exceed everything that was ever funded and slashed.
    error TotalExceedsFunds(uint256 funded, uint256 found);

    /// @notice No member has this roster index.
    error UnknownMember(uint256 index);

    /// @notice The proof does not lead from this index and this cumulative reward to the root.
    error InvalidProof(uint256 index, uint256 cumulativeWei);

    /// @notice The member has received this much, or more, already.
    error NothingToClaim(uint256 index, uint256 claimedWei);

    /// @notice The leaves under the root add up to more than the total that was signed with it.
    error ClaimsExceedTotal(uint256 unclaimedWei, uint256 foundWei);

    /// @notice Only an active member can stake.
    error MemberNotActive(uint256 index);

    /// @notice Only the member's own account may take a stake back.
    error NotTheAccount(uint256 index, address account);

    /// @notice The member's stake is smaller than that.
    error StakeTooSmall(uint256 index, uint256 stakedWei, uint256 foundWei);

    /// @notice Nothing of this member's stake is unbonding.
    error NothingUnbonding(uint256 index);

    /// @notice What is unbonding can be withdrawn from `releaseAt` on, in Unix seconds.
    error UnbondingNotOver(uint256 index, uint256 releaseAt);

    /// @notice Only the Disputes of this consortium may call this.
    error NotTheDisputes(address caller);

    /* EVENTS */

    /// @notice The terms of this vault, which never change.
    event TermsAdopted(uint128 roundBudget, uint32 participationPpm, uint64 disputeWindowSeconds);

    /// @notice What the money is (zero: the chain's own coin) and how long a stake unbonds; neither ever changes.
    event StakeTermsAdopted(address asset, uint64 unbondingSeconds);

    /// @notice `from` added `amountWei` to the pool.
    event Funded(address indexed from, uint256 amountWei);

    /// @notice The rewards after `round` can be claimed from now on.
    event RootActivated(uint64 indexed round, bytes32 root, uint256 totalWei);

    /// @notice A member received `amountWei`, which makes `cumulativeWei` in all.
    event RewardClaimed(uint256 indexed index, address account, uint256 amountWei, uint256 cumulativeWei);

    /// @notice `from` paid for the model; shared by the rewards that are active, which are those after `round`.
    event RevenuePaid(uint64 indexed round, address indexed from, uint256 amountWei);

    /// @notice A member received its part of the revenue paid while the rewards after `round` were active.
    event RevenueClaimed(uint64 indexed round, uint256 indexed index, address account, uint256 amountWei);

    /// @notice A member's stake grew.
    event Staked(uint256 indexed index, address indexed from, uint256 amountWei);

    /// @notice A member asked for a part of its stake; all that it asked for is free at `releaseAt`.
    event UnstakeRequested(uint256 indexed index, uint256 amountWei, uint256 releaseAt);

    /// @notice A member received the stake that it had asked for.
    event StakeWithdrawn(uint256 indexed index, address account, uint256 amountWei);

    /// @notice A member lost stake to the pool, of what was staked and of what was unbonding.
    event Slashed(uint256 indexed index, uint256 stakedWei, uint256 unbondingWei);

    /// @notice A part of a member's stake was locked behind a challenge.
    event BondLocked(uint256 indexed index, uint256 amountWei);

    /// @notice A bond became stake again, or went to the pool.
    event BondReleased(uint256 indexed index, uint256 amountWei, bool isForfeited);

    /* ACTIONS */

    /// @notice Adds to the pool. Anyone may call it; nothing is given back.
    /// @param amountWei Coins of this call, or tokens that the caller allowed the vault to take; what arrives counts.
    function fund(uint256 amountWei) external payable;

    /// @notice Pays for the model. Shared by the active rewards; before there are any, it is added to the pool.
    /// @param amountWei As in `fund`.
    function payRevenue(uint256 amountWei) external payable;

    /// @notice Makes the rewards of a final round claimable. Anyone may call it.
    /// @param result The result that the ledger recorded, of a round newer than the active one.
    function activate(RoundResult calldata result) external;

    /// @notice Pays a member what it has not received yet. Anyone may call it; the money goes to the member's account.
    /// @dev The account may be a contract and may call back; everything is written before it is paid.
    /// @param index Roster index of the member.
    /// @param cumulativeWei Its cumulative reward under the active root.
    /// @param proof Sibling hashes from the leaf to the active root (OpenZeppelin StandardMerkleTree).
    function claim(uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) external;

    /// @notice Pays a member its part of the revenue that came while the rewards after `round` were active.
    /// @param round A round named by `RevenuePaid`.
    /// @param index Roster index of the member.
    /// @param cumulativeWei Its cumulative reward after that round.
    /// @param proof Sibling hashes from the leaf to the root of that round.
    function claimRevenue(uint64 round, uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) external;

    /// @notice Adds to a member's stake. Anyone may call it; it belongs to the member from then on.
    /// @param amountWei As in `fund`.
    function stake(uint256 index, uint256 amountWei) external payable;

    /// @notice Asks for a part of the stake; everything that was asked for waits from now on. For the account only.
    function requestUnstake(uint256 index, uint128 amountWei) external;

    /// @notice Pays a member the stake that it asked for, after the unbonding. Anyone may call it.
    function withdrawStake(uint256 index) external;

    /// @notice Moves stake, and if that is not enough what unbonds, to the pool. For the Disputes only.
    /// @return takenWei What there was of `amountWei`.
    function slash(uint256 index, uint256 amountWei) external returns (uint256 takenWei);

    /// @notice Locks a part of a member's stake behind a challenge. For the Disputes only.
    function lockBond(uint256 index, uint128 amountWei) external;

    /// @notice Makes a bond stake again, or gives it to the pool. For the Disputes only.
    function releaseBond(uint256 index, uint128 amountWei, bool isForfeited) external;

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice The registry whose members are paid.
    function registry() external view returns (IMemberRegistry);

    /// @notice The ledger whose results are paid.
    function ledger() external view returns (IRoundLedger);

    /// @notice The contract that slashes.
    function disputes() external view returns (address);

    /// @notice The token that is paid; zero for the chain's own coin.
    function asset() external view returns (address);

    /// @notice Wei that one training round distributes. The members compute with it; the vault only publishes it.
    function roundBudget() external view returns (uint128);

    /// @notice Part of the budget that a round's dealers share equally, in parts per million.
    function participationPpm() external view returns (uint32);

    /// @notice Time between the record of a round and the first activation of its rewards, as in the ledger.
    function disputeWindowSeconds() external view returns (uint64);

    /// @notice Time between asking for a stake and its payment.
    function unbondingSeconds() external view returns (uint64);

    /// @notice Everything ever funded, in wei.
    function totalFunded() external view returns (uint128);

    /// @notice Everything ever slashed or forfeited, which is in the pool, in wei.
    function totalSlashed() external view returns (uint128);

    /// @notice Everything ever paid out as reward, in wei.
    function totalClaimed() external view returns (uint128);

    /// @notice The round whose rewards are active; 0 before the first activation.
    function activeRound() external view returns (uint64);

    /// @notice The Merkle root under which claims are paid; zero before the first activation.
    function activeRoot() external view returns (bytes32);

    /// @notice Sum of the cumulative rewards under the active root, in wei.
    function activeTotal() external view returns (uint128);

    /// @notice Everything ever paid to the member with roster index `index` as reward, in wei.
    function claimedWei(uint256 index) external view returns (uint256);

    /// @notice The revenue paid while the rewards after `round` were active: their root and total, what was paid, and
    /// what of it members have received.
    function revenueOf(uint64 round)
        external
        view
        returns (bytes32 root, uint128 totalWei, uint128 paidWei, uint128 claimedWei);

    /// @notice What the member has received of the revenue of that round, in wei.
    function claimedRevenueWei(uint64 round, uint256 index) external view returns (uint256);

    /// @notice What the member with roster index `index` has staked.
    function stakeOf(uint256 index) external view returns (Stake memory);
}
