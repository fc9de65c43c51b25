// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {RoundResults} from "./RoundResults.sol";
import {Stakes} from "./Stakes.sol";
import {Treasury} from "./Treasury.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {IRoundLedger, RoundResult, RoundState} from "./interfaces/IRoundLedger.sol";

/// @title RewardVault
/// @dev What every function promises is written in IRewardVault.sol. Stakes.sol has what members stake, Treasury.sol
/// how money comes and goes; here is what they earn.
contract RewardVault is Stakes {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IRewardVault
    string public constant VERSION = "2.0.0";

    uint32 private constant MILLION = 1_000_000;

    /// @inheritdoc IRewardVault
    uint128 public immutable roundBudget;

    /// @inheritdoc IRewardVault
    uint32 public immutable participationPpm;

    /// @inheritdoc IRewardVault
    uint64 public immutable disputeWindowSeconds;

    /* STORAGE */

    struct Revenue {
        bytes32 root;
        uint128 totalWei;
        uint128 paidWei;
        uint128 claimedWei;
    }

    /// @inheritdoc IRewardVault
    uint64 public activeRound;

    /// @inheritdoc IRewardVault
    bytes32 public activeRoot;

    // The two numbers that a claim compares share a slot.
    /// @inheritdoc IRewardVault
    uint128 public activeTotal;

    /// @inheritdoc IRewardVault
    uint128 public totalClaimed;

    /// @inheritdoc IRewardVault
    mapping(uint256 index => uint256) public claimedWei;

    /// @inheritdoc IRewardVault
    mapping(uint64 round => Revenue) public revenueOf;

    /// @inheritdoc IRewardVault
    mapping(uint64 round => mapping(uint256 index => uint256)) public claimedRevenueWei;

    /* CONSTRUCTOR */

    /// @param registry_ The registry, deployed before, that names this contract's address as its vault.
    /// @param ledger_ The ledger that the same registry names.
    /// @param asset_ The token that is paid; zero for the chain's own coin.
    /// @param roundBudget_ Wei that one training round distributes.
    /// @param participationPpm_ Part of it that the round's dealers share equally, in parts per million.
    /// @param unbondingSeconds_ Time between asking for a stake and its payment.
    constructor(
        IMemberRegistry registry_,
        IRoundLedger ledger_,
        address asset_,
        uint128 roundBudget_,
        uint32 participationPpm_,
        uint64 unbondingSeconds_
    ) Treasury(asset_) Stakes(registry_, ledger_, unbondingSeconds_) {
        if (participationPpm_ > MILLION) revert ParticipationOutOfRange(participationPpm_);
        roundBudget = roundBudget_;
        participationPpm = participationPpm_;
        disputeWindowSeconds = ledger_.disputeWindowSeconds();
        emit TermsAdopted(roundBudget_, participationPpm_, disputeWindowSeconds);
        emit StakeTermsAdopted(asset_, unbondingSeconds_);
    }

    /* ACTIONS: MONEY IN */

    /// @inheritdoc IRewardVault
    function fund(uint256 amountWei) external payable nonReentrant {
        uint128 received = _take(amountWei);
        totalFunded += received;
        emit Funded(msg.sender, received);
    }

    /// @inheritdoc IRewardVault
    function payRevenue(uint256 amountWei) external payable nonReentrant {
        uint128 received = _take(amountWei);
        if (activeTotal == 0) {
            totalFunded += received;
            emit Funded(msg.sender, received);
            return;
        }
        Revenue storage revenue = revenueOf[activeRound];
        if (revenue.paidWei == 0) (revenue.root, revenue.totalWei) = (activeRoot, activeTotal);
        revenue.paidWei += received;
        emit RevenuePaid(activeRound, msg.sender, received);
    }

    /* ACTIONS: REWARDS */

    /// @inheritdoc IRewardVault
    function activate(RoundResult calldata result) external {
        uint64 round = result.round;
        _checkFinal(round, RoundResults.hash(result));
        uint128 total = result.rewardsTotal;
        if (total < activeTotal) revert TotalDecreased(activeTotal, total);
        uint256 pool = uint256(totalFunded) + totalSlashed;
        if (total > pool) revert TotalExceedsFunds(pool, total);

        activeRound = round;
        activeRoot = result.rewards;
        activeTotal = total;
        emit RootActivated(round, result.rewards, total);
    }

    /// @inheritdoc IRewardVault
    function claim(uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) external nonReentrant {
        address account = registry.accountAt(index);
        _checkProof(activeRoot, index, cumulativeWei, proof);
        uint256 amountWei = _due(index, claimedWei[index], cumulativeWei, activeTotal - totalClaimed);

        claimedWei[index] = cumulativeWei;
        totalClaimed += uint128(amountWei);
        emit RewardClaimed(index, account, amountWei, cumulativeWei);
        _pay(account, amountWei);
    }

    /// @inheritdoc IRewardVault
    function claimRevenue(uint64 round, uint256 index, uint256 cumulativeWei, bytes32[] calldata proof)
        external
        nonReentrant
    {
        address account = registry.accountAt(index);
        Revenue storage revenue = revenueOf[round];
        _checkProof(revenue.root, index, cumulativeWei, proof);
        // Rounded down; what does not divide stays. The product of two 128-bit numbers fits.
        uint256 shareWei = (revenue.paidWei * _fitting(cumulativeWei, revenue.totalWei)) / revenue.totalWei;
        uint256 received = claimedRevenueWei[round][index];
        uint256 amountWei = _due(index, received, shareWei, revenue.paidWei - revenue.claimedWei);

        claimedRevenueWei[round][index] = shareWei;
        revenue.claimedWei += uint128(amountWei);
        emit RevenueClaimed(round, index, account, amountWei);
        _pay(account, amountWei);
    }

    /* INTERNAL */

    function _checkFinal(uint64 round, bytes32 found) private view {
        bytes27 recorded = ledger.resultDigest(round);
        if (recorded == 0) revert RoundNotRecorded(round);
        if (bytes27(found) != recorded) revert ResultMismatch(round, recorded, found);
        if (round <= activeRound) revert RoundNotNewer(activeRound, round);
        uint256 until = ledger.pausedUntil();
        if (block.timestamp < until) revert RoundsPaused(until);
        RoundState state = ledger.stateOf(round);
        if (state == RoundState.Void) revert RoundIsVoid(round);
        bool isOver = state == RoundState.Final || state == RoundState.Abandoned;
        if (!isOver) revert DisputeWindowOpen(round, ledger.finalAt(round));
    }

    function _checkProof(bytes32 root, uint256 index, uint256 cumulativeWei, bytes32[] calldata proof) private pure {
        // Hashed twice, so that no inner node of the tree passes as a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(index, cumulativeWei))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert InvalidProof(index, cumulativeWei);
    }

    /// @dev No leaf is worth more than the total that was signed with its root.
    function _fitting(uint256 cumulativeWei, uint128 totalWei) private pure returns (uint256) {
        if (cumulativeWei > totalWei) revert ClaimsExceedTotal(totalWei, cumulativeWei);
        return cumulativeWei;
    }

    function _due(uint256 index, uint256 received, uint256 earned, uint256 left) private pure returns (uint256 amount) {
        if (earned <= received) revert NothingToClaim(index, received);
        amount = earned - received;
        if (amount > left) revert ClaimsExceedTotal(left, amount);
    }
}
